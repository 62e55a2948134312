// What is known: gateways and devices as the hub has them, and who wants to hear of changes.
export const store = {
  gateways: new Map(),
  devices: new Map(),
  log: [],
  logged: 0,
  loaded: false,
  problem: null,
  link: "connecting",
  session: null,
  /** The hub's clock minus ours. */
  skew: 0,
};

export const LOG_MAX = 2000;
const listeners = new Set();
let waiting = new Set();
let scheduled = false;

export const keyOf = (gateway, id) => `${gateway}\u0000${id}`;
export const now = () => Date.now() + store.skew;

/** Calls back with a set of what changed, at most once a frame: "gateways", "devices", "link", "log", "d:KEY". */
export function watch(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function changed(...what) {
  for (const one of what) waiting.add(one);
  if (scheduled) return;
  scheduled = true;
  const tell = () => {
    scheduled = false;
    const now = waiting;
    waiting = new Set();
    for (const listener of [...listeners]) listener(now);
  };
  if (document.hidden) setTimeout(tell, 100);
  else requestAnimationFrame(tell);
}

export function deviceName(device) {
  return device.name || device.id;
}

export function gatewayName(id) {
  return store.gateways.get(id)?.name ?? id;
}

/** Whether what is shown of a device is as its gateway has it now. */
export function isLive(device) {
  return store.link === "live" && device.online && (store.gateways.get(device.gateway)?.synced ?? false);
}

export function log(kind, data, at) {
  store.log.push({ number: ++store.logged, kind, data, at });
  if (store.log.length > LOG_MAX) store.log.splice(0, store.log.length - LOG_MAX);
  changed("log");
}

/** Takes over what an event says. */
export function apply(kind, data) {
  switch (kind) {
    case "gateway": {
      const before = store.gateways.get(data.id);
      store.gateways.set(data.id, data);
      changed("gateways", `g:${data.id}`);
      if (!before || before.link !== data.link) log("link", { gateway: data.id, link: data.link, reason: data.reason }, now());
      return before && !before.synced && data.synced ? "reread" : null;
    }
    case "gateway_gone":
      store.gateways.delete(data.gateway);
      for (const [key, device] of store.devices) if (device.gateway === data.gateway) store.devices.delete(key);
      changed("gateways", "devices");
      return null;
    case "device": {
      const key = keyOf(data.gateway, data.id);
      store.devices.set(key, data);
      changed("devices", `d:${key}`);
      return null;
    }
    case "device_gone":
      store.devices.delete(keyOf(data.gateway, data.id));
      changed("devices");
      return null;
    case "renamed": {
      const device = store.devices.get(keyOf(data.gateway, data.id));
      if (device) {
        device.name = data.name;
        changed("devices", `d:${keyOf(data.gateway, data.id)}`);
      }
      return null;
    }
    case "values":
    case "online": {
      const key = keyOf(data.gateway, data.id);
      const device = store.devices.get(key);
      log(kind, data, data.at);
      if (!device) return null;
      if (kind === "online") {
        device.online = data.online;
        changed("devices");
      }
      for (const { code, ...state } of data.points) {
        let point = device.points.find((known) => known.code === code);
        if (!point) {
          point = { code };
          device.points.push(point);
        }
        point.state = state;
      }
      changed(`d:${key}`);
      return null;
    }
    default:
      return null;
  }
}
