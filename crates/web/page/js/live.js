// Keeps what is shown true: one stream of events, resumed by id; where that fails it says so and tries again.
import { all, get } from "./api.js";
import { apply, changed, keyOf, store } from "./store.js";

const KINDS = ["gateway", "gateway_gone", "device", "device_gone", "values", "online", "renamed"];
/** The hub says something every 10 s. */
const SILENCE = 25_000;
/** A page that nobody sees needs no stream; browsers allow few connections to one host. */
const HIDDEN = 60_000;

let source = null;
let lastId = "";
let held = null;
let watchdog = 0;
let retry = 0;
let attempts = 0;
let hiding = 0;
let generation = 0;

export function startLive() {
  connect();
  addEventListener("online", () => store.link === "lost" && connect());
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (document.hidden) hiding = setTimeout(rest, HIDDEN);
    else if (!source) connect();
  });
}

export function reconnectNow() {
  connect();
}

function setLink(link, problem = null) {
  if (store.link === link && store.problem === problem) return;
  store.link = link;
  store.problem = problem;
  document.body.dataset.link = link;
  changed("link", "devices", "gateways");
}

function close() {
  clearTimeout(watchdog);
  clearTimeout(retry);
  source?.close();
  source = null;
}

function rest() {
  close();
}

function connect() {
  close();
  const mine = ++generation;
  const query = lastId ? `?last_event_id=${encodeURIComponent(lastId)}` : "";
  const stream = new EventSource(`/api/v1/events${query}`);
  source = stream;
  heard();
  stream.addEventListener("hello", (event) => {
    const { resumed, now } = JSON.parse(event.data);
    store.skew = now - Date.now();
    heard(event);
    if (resumed && store.loaded) {
      attempts = 0;
      setLink("live");
    } else {
      load(mine);
    }
  });
  stream.addEventListener("reset", (event) => {
    heard(event);
    load(mine);
  });
  stream.addEventListener("tick", (event) => {
    store.skew = JSON.parse(event.data).now - Date.now();
    heard();
  });
  for (const kind of KINDS) {
    stream.addEventListener(kind, (event) => {
      heard(event);
      const data = JSON.parse(event.data);
      if (held) held.push([kind, data]);
      else take(kind, data);
    });
  }
  stream.addEventListener("error", () => lost("it has gone away"));
}

function take(kind, data) {
  if (apply(kind, data) === "reread") reread(data.id);
}

function heard(event) {
  if (event?.lastEventId) lastId = event.lastEventId;
  clearTimeout(watchdog);
  watchdog = setTimeout(() => lost("it fell silent"), SILENCE);
}

async function lost(problem) {
  close();
  held = null;
  setLink("lost", problem);
  const wait = Math.min(1000 * 2 ** attempts, 10_000);
  attempts += 1;
  retry = setTimeout(connect, wait * (0.8 + Math.random() * 0.4));
  try {
    const session = await get("/api/v1/session");
    if (!session.logged_in) location.assign("/login");
  } catch {
    // It is away, which is known already.
  }
}

/** Reads everything; what happens meanwhile is applied after it. */
async function load(mine) {
  held = [];
  try {
    const [gateways, devices] = await Promise.all([all("/api/v1/gateways"), all("/api/v1/devices")]);
    if (mine !== generation) return;
    store.gateways = new Map(gateways.map((gateway) => [gateway.id, gateway]));
    store.devices = new Map(devices.map((device) => [keyOf(device.gateway, device.id), device]));
    store.loaded = true;
    attempts = 0;
    const after = held ?? [];
    held = null;
    for (const [kind, data] of after) take(kind, data);
    setLink("live");
    changed("devices", "gateways", "all");
  } catch (error) {
    if (mine !== generation) return;
    lastId = "";
    lost(error.message);
  }
}

/** Reads the devices of a gateway that is back: each value has been confirmed meanwhile. */
async function reread(gateway) {
  try {
    const devices = await all(`/api/v1/devices?gateway=${encodeURIComponent(gateway)}`);
    for (const device of devices) {
      const known = store.devices.get(keyOf(gateway, device.id));
      // What came as an event while this was read is newer.
      for (const point of device.points) {
        const state = known?.points.find((other) => other.code === point.code)?.state;
        if (state && point.state && state.at > point.state.at) point.state = state;
      }
      apply("device", device);
    }
  } catch {
    // Events go on; what is shown keeps its age.
  }
}
