// One device: its controls, all of its data points, a chart, what is odd about it.
import { devicePath, get, put } from "../api.js";
import { chartPanel } from "../chart.js";
import { control } from "../controls.js";
import { dialog, empty, field, h, icon, setText, toast } from "../dom.js";
import { label, setAge, shown, unit, word } from "../format.js";
import { deviceName, gatewayName, isLive, keyOf, store } from "../store.js";
import { lastHeard } from "../summary.js";

export function deviceView(gateway, id) {
  const key = keyOf(gateway, id);
  const root = h("div");
  let parts = null;
  let shape = "";

  function update(what) {
    const device = store.devices.get(key);
    if (!device) {
      parts?.destroy();
      parts = null;
      shape = "";
      if (!store.loaded) root.replaceChildren(h("p", { class: "tally", role: "status", text: store.link === "lost" ? "The hub cannot be reached; this page connects again by itself." : "Reading the device" }));
      else root.replaceChildren(empty("search", "No such device", "The gateway does not have it (any more), or is not known.", h("a", { class: "button", href: "#/" }, "All devices")));
      return;
    }
    const now = device.points.map((point) => `${point.code}:${JSON.stringify(point.read)}:${JSON.stringify(point.write)}`).join();
    if (now !== shape) {
      shape = now;
      parts?.destroy();
      parts = build(device);
      root.replaceChildren(...parts.elements);
      parts.shown();
    }
    parts.update(device, what);
  }

  return {
    root,
    shown: () => update(new Set()),
    update(what) {
      if (what.has(`d:${key}`) || what.has("all") || what.has("link") || what.has("gateways") || what.has("devices") || what.has("session")) update(what);
    },
    destroy: () => parts?.destroy(),
  };
}

function build(device) {
  const title = h("h1");
  const sub = h("p", { class: "sub" });
  const status = h("span", { class: "tag" });
  const heard = h("span");
  const badge = h("span", { class: "badge" }, icon(device.kind));
  const rename = h("button", { class: "button small", type: "button", on: { click: () => renameDevice(device) } }, icon("edit"), "Rename");
  const back = h("a", { class: "icon-button", href: "#/", "aria-label": "All devices" }, icon("back"));
  const head = h("div", { class: "head" }, back, badge, h("div", { class: "titles" }, title, sub), status, rename);

  const writable = device.points.filter((point) => point.write);
  const controls = writable.map((point) => [point.code, control(device, point)]);
  const list = h("ul", { class: "controls-list" }, controls.map(([code, made]) => h("li", {}, h("div", { class: "label" }, h("span", { text: label(code) }), h("code", { text: code })), made.root)));
  const left = h("div", {}, h("section", { class: "panel", "aria-labelledby": "controls-title" }, h("h2", { id: "controls-title", text: "Controls" }), writable.length > 0 ? list : h("p", { class: "hint", text: "This device only reports; there is nothing to set." })));

  const rows = device.points.map((point) => row(point));
  const table = h("table", {}, h("thead", {}, h("tr", {}, ["Data point", "Value", "Raw", "Type and limits", "Confirmed"].map((text) => h("th", { scope: "col", text })))), h("tbody", {}, rows.map((one) => one.root)));
  const points = h("section", { class: "panel", "aria-labelledby": "points-title" }, h("h2", { id: "points-title", text: "Data points" }), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "points-title" }, table));

  const chart = chartPanel(device);
  const odd = h("section", { class: "panel", "aria-labelledby": "odd-title" }, h("h2", { id: "odd-title", text: "Oddities of the schema" }), h("p", { class: "hint", text: "Reading" }));
  readOddities(device, odd);
  const assistant = h("section", { class: "panel", "aria-labelledby": "assistant-title" }, h("h2", { id: "assistant-title", text: "In Home Assistant" }), h("p", { class: "hint", text: "Reading" }));
  readAssistant(device, assistant);
  left.append(assistant);
  const columns = h("div", { class: "columns" }, left, h("div", {}, chart.root, points, odd));

  return {
    elements: [head, columns],
    shown: chart.shown,
    destroy: chart.destroy,
    update(now, what) {
      const live = isLive(now);
      setText(title, deviceName(now));
      document.title = `${deviceName(now)} · Hearthgate`;
      sub.replaceChildren(`${word(now.kind)} (${now.category || "no category"}) · ${gatewayName(now.gateway)} · `, h("code", { text: now.id }), " · ", heard);
      setAge(heard, lastHeard(now), "heard ");
      status.className = `tag ${live ? "good" : "bad"}`;
      setText(status, now.online ? (live ? "Online" : "Not current") : "Offline");
      badge.classList.toggle("on", live && now.points.some((point) => point.write?.type === "boolean" && /^switch/.test(point.code) && point.state?.value === true));
      now.points.forEach((point, index) => rows[index]?.update(point, live));
      for (const [code, made] of controls) {
        const point = now.points.find((one) => one.code === code);
        if (point) made.update(point);
      }
      chart.update(now, what);
    },
  };
}

function row(point) {
  const value = h("span", { class: "value" });
  const raw = h("code");
  const age = h("span");
  const source = h("span", { class: "tag" });
  const spec = point.read ?? point.write;
  const root = h("tr", {}, h("th", { scope: "row" }, label(point.code), h("br"), h("code", { text: point.code })), h("td", {}, value), h("td", { class: "raw" }, raw),
    h("td", { class: "limits" }, `${spec ? spec.declared : "Undeclared"}, ${access(point)}`, h("br"), h("span", { class: "hint", text: spec ? limits(spec) : "" })), h("td", { class: "age" }, age, h("br"), source));
  const update = (now, live) => {
    setText(value, shown(now));
    const text = now.state ? JSON.stringify(now.state.raw) : "";
    setText(raw, text.length > 90 ? `${text.slice(0, 89)}…` : text);
    raw.title = text.length > 90 ? text.slice(0, 4000) : "";
    setAge(age, now.state?.at);
    const from = now.state ? (live ? now.state.source : "cache") : "";
    setText(source, from);
    source.className = `tag${from === "event" ? " good" : from === "cache" ? " warn" : ""}`;
    source.hidden = from === "";
  };
  return { root, update };
}

function access(point) {
  if (point.read && point.write) return "read and write";
  if (point.write) return point.state ? "write" : "write-only";
  return point.read ? "read" : "reported";
}

function limits(spec) {
  const parts = [];
  const of = (value) => `${value}${spec.unit ? ` ${unit(spec.unit)}` : ""}`;
  if (spec.min !== undefined || spec.max !== undefined) parts.push(`${spec.min !== undefined ? of(spec.min) : "…"} to ${spec.max !== undefined ? of(spec.max) : "…"}`);
  if (spec.step !== undefined) parts.push(`step ${spec.step}`);
  if (spec.scale) parts.push(`scale ${spec.scale}`);
  if (spec.range?.length) parts.push(spec.range.join(", "));
  if (spec.maxlen !== undefined) parts.push(`up to ${spec.maxlen} bytes`);
  return parts.join(" · ");
}

async function readOddities(device, panel) {
  const body = panel.lastElementChild;
  try {
    const { oddities } = await get(`${devicePath(device)}/schema`);
    if (oddities.length === 0) setText(body, "Nothing is odd: the schema is sound, and all values fit it.");
    else body.replaceWith(h("ul", { class: "odd" }, oddities.map(({ code, text }) => h("li", {}, code ? [h("code", { text: code }), " "] : [], text))));
  } catch (error) {
    setText(body, `Cannot be read: ${error.message}`);
  }
}

async function readAssistant(device, panel) {
  const body = panel.lastElementChild;
  try {
    const { entities } = await get(`${devicePath(device)}/homeassistant`);
    if (entities.length === 0) {
      setText(body, "Home Assistant would show nothing of this device.");
      return;
    }
    body.replaceWith(h("ul", { class: "odd" }, entities.map((entity) => h("li", {}, h("b", { text: entity.name ?? "(the device itself)" }), " ", h("span", { class: "tag", text: word(entity.platform) }), entity.category ? [" ", h("span", { class: "tag", text: entity.category })] : [],
      h("br"), h("span", { class: "hint" }, [entity.device_class && word(entity.device_class), entity.unit, entity.points.join(", "), entity.enabled ? "" : "hidden at first"].filter(Boolean).join(" · "))))));
  } catch (error) {
    setText(body, `Cannot be read: ${error.message}`);
  }
}

function renameDevice(device) {
  const input = h("input", { type: "text", maxlength: 128, value: store.devices.get(keyOf(device.gateway, device.id))?.name ?? "" });
  dialog({
    title: "Rename the device",
    fields: field("Name", input, "Names are kept by this hub and never sent to the gateway. An empty name takes it away."),
    action: "Rename",
    async submit() {
      try {
        await put(`${devicePath(device)}/name`, { name: input.value.trim() || null });
        toast("Renamed");
        return null;
      } catch (error) {
        return error.message;
      }
    },
  });
}
