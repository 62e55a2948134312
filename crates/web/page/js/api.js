// Asks the hub. Every wait has an end, every failure a text for people.
const PATIENCE = 20_000;

export class ApiError extends Error {
  constructor(message, code, status) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

async function ask(method, path, body, patience = PATIENCE) {
  const options = { method, headers: { Accept: "application/json" }, signal: AbortSignal.timeout(patience), credentials: "same-origin" };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    const text = error.name === "TimeoutError" ? "the hub did not answer in time" : "the hub cannot be reached";
    throw new ApiError(text, "no_hub", 0);
  }
  if (response.status === 401 && path !== "/api/v1/session") {
    location.assign("/login");
    throw new ApiError("log in first", "login", 401);
  }
  let data = null;
  if (response.status !== 204 && response.status !== 201) {
    try {
      data = await response.json();
    } catch {
      throw new ApiError("the hub sent an answer that makes no sense", "no_answer", response.status);
    }
  }
  if (!response.ok) throw new ApiError(data?.detail ?? `the hub answered ${response.status}`, data?.code ?? "unknown", response.status);
  return data;
}

export const get = (path) => ask("GET", path);
export const put = (path, body) => ask("PUT", path, body);
export const post = (path, body, patience) => ask("POST", path, body, patience);
export const remove = (path) => ask("DELETE", path);

/** Reads a list to its end, page by page. */
export async function all(path, limit = 500) {
  const items = [];
  let cursor = null;
  do {
    const url = new URL(path, location.origin);
    url.searchParams.set("limit", limit);
    if (cursor) url.searchParams.set("cursor", cursor);
    const page = await get(url.pathname + url.search);
    items.push(...page.items);
    cursor = page.next;
  } while (cursor);
  return items;
}

export const gatewayPath = (gateway) => `/api/v1/gateways/${encodeURIComponent(gateway)}`;
export const devicePath = (device) => `/api/v1/devices/${encodeURIComponent(device.gateway)}/${encodeURIComponent(device.id)}`;
