// What happens, as it happens: filtered, paused, newest first.
import { get } from "../api.js";
import { empty, h, icon, setText } from "../dom.js";
import { clock, label, moment, shown } from "../format.js";
import { changed, deviceName, gatewayName, keyOf, LOG_MAX, store } from "../store.js";
import { VirtualList } from "../virtual.js";

const ROW = 40;
const ROW_NARROW = 56;
const KINDS = { values: "Values", online: "Reach", link: "Gateways" };
const filter = { text: "", kind: "", gateway: "" };
let backfilled = false;

export function logView() {
  const search = h("input", { type: "search", placeholder: "Filter by device, data point or value", "aria-label": "Filter the log", value: filter.text });
  const gateway = h("select", { "aria-label": "Gateway" });
  const kind = h("select", { "aria-label": "Kind of event" }, h("option", { value: "" }, "All events"), Object.entries(KINDS).map(([value, text]) => h("option", { value }, text)));
  kind.value = filter.kind;
  const pause = h("button", { class: "button", type: "button", "aria-pressed": "false" }, icon("pause"), h("span", { text: "Pause" }));
  const tally = h("p", { class: "tally" });
  const host = h("div");
  const other = h("div");
  const box = h("div", { class: "log-box", role: "log", "aria-live": "off", "aria-label": "Events" }, host);
  const root = h("div", {}, h("h1", { class: "sr", text: "Log" }), h("div", { class: "bar", role: "search" }, h("div", { class: "search" }, icon("search"), search), gateway, kind, pause), tally, other, box);
  const list = new VirtualList(host, (row) => ({ root: draw(row.entry) }));
  /** Where the log stood when it was paused. */
  let paused = null;

  search.addEventListener("input", () => set("text", search.value));
  kind.addEventListener("change", () => set("kind", kind.value));
  gateway.addEventListener("change", () => set("gateway", gateway.value));
  pause.addEventListener("click", () => {
    paused = paused === null ? [...store.log] : null;
    pause.setAttribute("aria-pressed", String(paused !== null));
    pause.replaceChildren(icon(paused === null ? "pause" : "play"), h("span", { text: paused === null ? "Pause" : "Go on" }));
    render();
  });

  function set(name, value) {
    filter[name] = value;
    render();
  }

  function render() {
    const pairs = JSON.stringify([...store.gateways.values()].map((info) => [info.id, info.name]));
    if (gateway.dataset.shown !== pairs) {
      gateway.dataset.shown = pairs;
      gateway.replaceChildren(h("option", { value: "" }, "All gateways"), ...JSON.parse(pairs).map(([id, text]) => h("option", { value: id }, text)));
    }
    gateway.value = filter.gateway;
    const entries = paused ?? store.log;
    const text = filter.text.trim().toLowerCase();
    const height = innerWidth <= 720 ? ROW_NARROW : ROW;
    const rows = [];
    for (let index = entries.length - 1; index >= 0; index--) {
      const entry = entries[index];
      if (filter.kind && entry.kind !== filter.kind) continue;
      if (filter.gateway && entry.data.gateway !== filter.gateway) continue;
      if (text && !`${who(entry)} ${entry.data.id ?? ""} ${what(entry)}`.toLowerCase().includes(text)) continue;
      rows.push({ key: entry.number, entry, height });
    }
    const missed = paused ? store.logged - (paused.at(-1)?.number ?? 0) : 0;
    setText(tally, `${rows.length === entries.length ? "" : `${rows.length} of `}${entries.length} events${entries.length >= LOG_MAX ? " (the newest that are kept here)" : ""}${paused ? ` · paused, ${missed} more since` : ""}`);
    other.replaceChildren();
    box.hidden = rows.length === 0;
    if (rows.length === 0) other.append(entries.length === 0 ? empty("log", "Nothing has happened yet", "Events appear here as they come.") : empty("search", "Nothing matches", "No event fits the filters."));
    list.setRows(rows);
  }

  return {
    root,
    shown() {
      render();
      backfill();
    },
    update(changes) {
      if (changes.has("all")) list.clear();
      if (changes.has("log") || changes.has("gateways") || changes.has("all")) render();
    },
    destroy: () => list.destroy(),
  };
}

/** Adds what happened before this page was opened, as far as the hub has it. */
async function backfill() {
  if (backfilled) return;
  backfilled = true;
  try {
    const { items } = await get("/api/v1/log?limit=500");
    const oldest = store.log[0]?.at ?? Infinity;
    const before = items.filter(({ event, data }) => (event === "values" || event === "online") && data.at < oldest);
    store.log.unshift(...before.map(({ event, data }, index) => ({ number: index - before.length, kind: event, data, at: data.at })));
    changed("log");
  } catch {
    backfilled = false;
  }
}

function draw(entry) {
  return h("div", { class: "log-row" }, h("time", { text: clock(entry.at), title: moment(entry.at) }), h("span", { class: "of" }, h("span", { class: `tag${bad(entry) ? " bad" : ""}`, text: KINDS[entry.kind] })), h("span", { class: "who", text: who(entry) }), h("span", { class: "what", text: what(entry), title: what(entry) }));
}

const bad = (entry) => (entry.kind === "online" && !entry.data.online) || (entry.kind === "link" && entry.data.link !== "up");

function who(entry) {
  if (entry.kind === "link") return gatewayName(entry.data.gateway);
  const device = store.devices.get(keyOf(entry.data.gateway, entry.data.id));
  return device ? deviceName(device) : entry.data.id;
}

function what(entry) {
  if (entry.kind === "link") return entry.data.link === "up" ? "connected" : entry.data.link === "connecting" ? "connecting" : `not connected: ${entry.data.reason ?? ""}`;
  const device = store.devices.get(keyOf(entry.data.gateway, entry.data.id));
  const parts = entry.data.points.map((state) => {
    const point = device?.points.find((known) => known.code === state.code);
    return `${label(state.code)} ${shown({ code: state.code, read: point?.read, write: point?.write, state })}`;
  });
  if (entry.kind === "online") parts.unshift(entry.data.online ? "back in reach" : "out of reach");
  return `${parts.join(" · ")}${entry.kind === "values" && !entry.data.changed ? " (again)" : ""}`;
}
