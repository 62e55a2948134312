// All devices by gateway, live; searched and filtered; only what is in sight is drawn.
import { empty, h, icon, setText } from "../dom.js";
import { word } from "../format.js";
import { deviceName, keyOf, store } from "../store.js";
import { isOn } from "../summary.js";
import { VirtualList } from "../virtual.js";
import { card, cardHeight } from "./card.js";

const GAP = 12;
const LEAST_WIDTH = 300;
// Survives a look at a device.
const filter = { text: "", gateway: "", kind: "", state: "" };

export function homeView() {
  const search = h("input", { type: "search", placeholder: "Search devices", "aria-label": "Search devices", value: filter.text });
  const gateway = h("select", { "aria-label": "Gateway" });
  const kind = h("select", { "aria-label": "Category" });
  const state = h("select", { "aria-label": "State" }, [["", "Any state"], ["on", "On"], ["online", "Online"], ["offline", "Offline"]].map(([value, text]) => h("option", { value }, text)));
  state.value = filter.state;
  const bar = h("div", { class: "bar", role: "search" }, h("div", { class: "search" }, icon("search"), search), gateway, kind, state);
  const tally = h("p", { class: "tally", role: "status", "aria-live": "polite" });
  const host = h("div");
  const other = h("div");
  const root = h("div", {}, h("h1", { class: "sr", text: "Devices" }), bar, tally, other, host);
  const list = new VirtualList(host, draw);
  let columns = 0;

  search.addEventListener("input", () => change("text", search.value));
  for (const [name, select] of [["gateway", gateway], ["kind", kind], ["state", state]]) select.addEventListener("change", () => change(name, select.value));
  const onResize = () => columnsNow() !== columns && render();
  addEventListener("resize", onResize, { passive: true });

  function change(name, value) {
    filter[name] = value;
    render();
  }

  function draw(row) {
    if (row.gateway) {
      const title = h("h2");
      const count = h("span", { class: "count" });
      const pill = h("span", { class: "pill" }, h("i"), h("span"));
      const update = (now) => {
        const info = store.gateways.get(now.gateway);
        setText(title, info?.name ?? now.gateway);
        setText(count, now.count === 1 ? "1 device" : `${now.count} devices`);
        const away = info && info.link !== "up";
        pill.hidden = !away;
        pill.dataset.state = info?.link ?? "";
        setText(pill.lastElementChild, info?.link === "no_key" ? "No key" : info?.link === "connecting" ? "Connecting" : "Not connected: values are not current");
      };
      update(row);
      return { root: h("div", { class: "group" }, title, count, pill), update };
    }
    const grid = h("div", { class: "cards" });
    grid.style.height = `${row.height - GAP}px`;
    grid.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
    const cards = row.keys.map((key) => card(store.devices.get(key)));
    grid.append(...cards.map((one) => one.root));
    const update = (now) => {
      grid.style.height = `${now.height - GAP}px`;
      now.keys.forEach((key, index) => store.devices.has(key) && cards[index].update(store.devices.get(key)));
    };
    return { root: grid, update };
  }

  const columnsNow = () => Math.max(1, Math.floor((host.clientWidth + GAP) / (LEAST_WIDTH + GAP)));

  function render() {
    options(gateway, "All gateways", [...store.gateways.values()].map((info) => [info.id, info.name]), filter.gateway);
    const kinds = [...new Set([...store.devices.values()].map((device) => device.kind))].sort();
    options(kind, "All categories", kinds.map((name) => [name, word(name)]), filter.kind);
    other.replaceChildren();
    if (!store.loaded) {
      setText(tally, store.link === "lost" ? "" : "Reading the devices");
      if (store.link === "lost") other.append(empty("gateway", "The hub cannot be reached", "This page connects again by itself as soon as the hub is back."));
      else other.append(h("div", { class: "cards", "aria-hidden": "true" }, [1, 2, 3].map(() => h("div", { class: "skeleton" }))));
      list.setRows([]);
      return;
    }
    columns = columnsNow();
    const rows = [];
    let found = 0;
    for (const id of [...store.gateways.keys()].sort((a, b) => store.gateways.get(a).name.localeCompare(store.gateways.get(b).name))) {
      const devices = [...store.devices.values()].filter((device) => device.gateway === id && matches(device));
      if (devices.length === 0) continue;
      found += devices.length;
      devices.sort((a, b) => deviceName(a).localeCompare(deviceName(b), undefined, { numeric: true }));
      rows.push({ key: `g ${id}`, gateway: id, count: devices.length, height: 52 });
      for (let index = 0; index < devices.length; index += columns) {
        const keys = devices.slice(index, index + columns).map((device) => keyOf(device.gateway, device.id));
        const height = Math.max(...devices.slice(index, index + columns).map(cardHeight));
        rows.push({ key: `${columns} ${keys.join(" ")}`, keys, height: height + GAP });
      }
    }
    const all = store.devices.size;
    setText(tally, found === all ? `${all} ${all === 1 ? "device" : "devices"}` : `${found} of ${all} devices`);
    if (store.gateways.size === 0) {
      other.append(empty("gateway", "No gateway yet", "Add the first one, and its devices appear here.", h("a", { class: "button primary", href: "#/gateways" }, "Add a gateway")));
    } else if (all === 0) {
      other.append(empty("home", "No devices yet", "The gateways that are known have no devices, or have not been reached so far.", h("a", { class: "button", href: "#/gateways" }, "Look at the gateways")));
    } else if (found === 0) {
      const clear = h("button", { class: "button", type: "button", on: { click: reset } }, "Show all devices");
      other.append(empty("search", "Nothing matches", "No device fits the search and the filters.", clear));
    }
    list.setRows(rows);
  }

  function reset() {
    Object.assign(filter, { text: "", gateway: "", kind: "", state: "" });
    search.value = "";
    state.value = "";
    render();
    search.focus();
  }

  function matches(device) {
    if (filter.gateway && device.gateway !== filter.gateway) return false;
    if (filter.kind && device.kind !== filter.kind) return false;
    if (filter.state === "online" && !device.online) return false;
    if (filter.state === "offline" && device.online) return false;
    if (filter.state === "on" && !(device.online && isOn(device))) return false;
    const text = filter.text.trim().toLowerCase();
    return text === "" || `${deviceName(device)} ${device.id} ${device.kind} ${device.category}`.toLowerCase().includes(text);
  }

  return {
    root,
    shown: render,
    update(what) {
      if (what.has("devices") || what.has("all") || what.has("gateways") || what.has("link")) {
        render();
        for (const drawn of list.drawn.values()) drawn.update?.(drawn.row);
        return;
      }
      for (const drawn of list.drawn.values()) if (drawn.row.keys?.some((key) => what.has(`d:${key}`))) drawn.update(drawn.row);
      if (filter.state === "on") render();
    },
    destroy() {
      list.destroy();
      removeEventListener("resize", onResize);
    },
  };
}

function options(select, first, pairs, value) {
  const wanted = JSON.stringify(pairs);
  if (select.dataset.shown !== wanted) {
    select.dataset.shown = wanted;
    select.replaceChildren(h("option", { value: "" }, first), ...pairs.map(([id, text]) => h("option", { value: id }, text)));
  }
  select.value = value;
}
