// The gateways: how each is connected, what to do where it is not, keys, the doctor, those that are heard.
import { all, gatewayPath, get, post, put, remove } from "../api.js";
import { dialog, empty, field, h, icon, setText, toast } from "../dom.js";
import { age, setAge } from "../format.js";
import { changed, store } from "../store.js";

/** The doctor's own limit is half a minute. */
const DOCTOR = 60_000;
const LISTEN = 5000;
const LINKS = { up: "Connected", down: "Not connected", connecting: "Connecting", no_key: "No key" };
const MARKS = { pass: "check", fail: "cross", warn: "warn", skip: "skip" };
const ADVICE = {
  authentication: "The key is not the gateway's: enter the one that the vendor's app shows now.",
  connection: "It is tried again for ever; there is nothing to do if the gateway is just restarting. Otherwise the doctor names the layer that fails.",
  protocol: "What answers there speaks something else: the doctor names the layer.",
};

export function gatewaysView() {
  const add = h("button", { class: "button primary", type: "button", hidden: true, on: { click: () => addGateway() } }, icon("plus"), "Add a gateway");
  const list = h("div");
  const heard = h("section", { class: "panel", "aria-labelledby": "heard-title" }, h("h2", { id: "heard-title", text: "Heard on the network" }));
  const heardBody = h("div");
  heard.append(heardBody);
  const root = h("div", {}, h("div", { class: "head" }, h("div", { class: "titles" }, h("h1", { text: "Gateways" })), add), list, heard);
  const drawn = new Map();
  let timer = 0;
  let alive = true;

  function render() {
    const keeps = store.session?.keeps_gateways ?? false;
    add.hidden = !keeps;
    heard.hidden = !keeps;
    heard.style.marginTop = "16px";
    const infos = [...store.gateways.values()].sort((a, b) => a.name.localeCompare(b.name));
    for (const [id, one] of drawn) {
      if (store.gateways.has(id)) continue;
      one.root.remove();
      drawn.delete(id);
    }
    list.querySelector(".empty")?.remove();
    if (store.loaded && infos.length === 0) list.append(empty("gateway", "No gateway yet", keeps ? "Gateways on your network are listed below as soon as they are heard. You need the key that the vendor's app shows." : "This hub was started without a gateway."));
    for (const info of infos) {
      let one = drawn.get(info.id);
      if (!one) {
        one = gatewayPanel(info);
        drawn.set(info.id, one);
      }
      one.update(info);
      if (one.root.parentElement !== list) list.append(one.root);
    }
  }

  async function listen() {
    clearTimeout(timer);
    if (!alive) return;
    if (store.session?.keeps_gateways && store.link === "live") {
      try {
        showHeard((await all("/api/v1/discovered")).filter((one) => !one.known));
      } catch (error) {
        heardBody.replaceChildren(h("p", { class: "hint", text: error.message }));
      }
    }
    timer = setTimeout(listen, LISTEN);
  }

  function showHeard(found) {
    const shape = found.map((one) => one.uuid + one.address).join();
    if (heardBody.dataset.shape === shape) {
      for (const one of found) {
        const element = heardBody.querySelector(`[data-uuid="${CSS.escape(one.uuid)}"]`);
        if (element) setAge(element, one.last_seen, "heard ");
      }
      return;
    }
    heardBody.dataset.shape = shape;
    if (found.length === 0) {
      heardBody.replaceChildren(h("p", { class: "hint", text: "No further gateway is heard. Switch on LAN control in the vendor's app; across networks add it by its address." }));
      return;
    }
    heardBody.replaceChildren(h("ul", { class: "heard" }, found.map((one) => {
      const seen = h("span", { class: "hint", "data-uuid": one.uuid });
      setAge(seen, one.last_seen, "heard ");
      return h("li", {}, icon("gateway"), h("div", {}, h("b", { text: one.uuid }), h("br"), h("span", { class: "hint" }, `${one.address} · `), seen),
        h("button", { class: "button small", type: "button", "aria-label": `Add the gateway ${one.uuid}`, on: { click: () => addGateway(one) } }, icon("plus"), "Add"));
    })));
  }

  return {
    root,
    shown() {
      render();
      listen();
    },
    update(what) {
      if (["gateways", "devices", "all", "link", "session"].some((one) => what.has(one))) render();
      if (what.has("session") || what.has("link")) listen();
    },
    destroy() {
      alive = false;
      clearTimeout(timer);
    },
  };
}

function gatewayPanel(first) {
  const title = h("h2");
  const pill = h("span", { class: "pill" }, h("i"), h("span"));
  const since = h("span", { class: "hint" });
  const problem = h("p", { class: "note bad" });
  const advice = h("p", { class: "note warn" });
  const stat = (name) => {
    const value = h("dd");
    return { value, root: h("div", {}, h("dt", { text: name }), value) };
  };
  const stats = { devices: stat("Devices"), trip: stat("Round trip"), rate: stat("Events a second"), events: stat("Events"), wire: stat("Wire encoding"), connects: stat("Connections made"), error: stat("Last error") };
  const report = h("div");
  const busy = h("button", { class: "button small", type: "button", on: { click: () => doctor() } }, icon("doctor"), "Doctor");
  const key = h("button", { class: "button small", type: "button", on: { click: () => changeKey(first) } }, icon("key"), "Change the key");
  const rename = h("button", { class: "button small", type: "button", on: { click: () => renameGateway(first) } }, icon("edit"), "Rename");
  const gone = h("button", { class: "button small danger", type: "button", on: { click: () => removeGateway(first) } }, icon("trash"), "Remove");
  const root = h("section", { class: "panel gateway", "data-gateway": first.id },
    h("div", { class: "title" }, h("span", { class: "badge" }, icon("gateway")), h("div", {}, title, h("p", { class: "hint" }, h("code", { text: first.id }), " · ", since)), pill),
    problem, advice, h("dl", { class: "stats" }, Object.values(stats).map((one) => one.root)), h("div", { class: "row" }, busy, key, rename, gone), report);

  async function doctor() {
    busy.disabled = true;
    report.replaceChildren(h("p", { class: "hint", role: "status" }, "The doctor tries each layer in turn; this takes half a minute at most."));
    try {
      const found = await post(`${gatewayPath(first.id)}/doctor`, undefined, DOCTOR);
      const failed = found.checks.find((check) => check.outcome === "fail");
      report.replaceChildren(h("p", { class: `note ${failed ? "bad" : ""}`, role: "status" }, failed ? `The layer "${failed.name}" fails.` : "No layer fails."),
        h("ul", { class: "checks" }, found.checks.map((check) => h("li", { class: check.outcome }, h("span", {}, icon(MARKS[check.outcome]), h("span", { class: "sr", text: check.outcome })), h("b", { text: check.name.replaceAll("_", " ") }), h("span", { text: check.detail })))));
    } catch (error) {
      report.replaceChildren(h("p", { class: "note bad", role: "alert", text: error.message }));
    }
    busy.disabled = false;
  }

  function update(info) {
    const stale = store.link === "lost";
    setText(title, info.name);
    pill.dataset.state = stale ? "" : info.link;
    setText(pill.lastElementChild, stale ? "Not known" : LINKS[info.link] + (info.link === "up" && !info.synced ? ", reading" : ""));
    setAge(since, info.since, "since ");
    problem.hidden = !info.reason || info.link === "up";
    setText(problem, info.reason ?? "");
    const hint = info.link === "no_key" ? "Enter the key that the vendor's app shows for this gateway." : info.link === "down" ? ADVICE[info.fault] : null;
    advice.hidden = !hint;
    setText(advice, hint ?? "");
    setText(stats.devices.value, info.devices === info.devices_online ? String(info.devices) : `${info.devices_online} of ${info.devices} in reach`);
    setText(stats.trip.value, info.round_trip_ms === null ? "–" : `${info.round_trip_ms} ms`);
    setText(stats.rate.value, info.events_per_second.toFixed(1));
    setText(stats.events.value, info.events.toLocaleString());
    setText(stats.wire.value, info.wire ?? "–");
    setText(stats.connects.value, String(info.connects));
    setText(stats.error.value, info.last_error ? age(info.last_error.at) : "none");
    stats.error.value.title = info.last_error?.text ?? "";
    key.hidden = !info.kept;
    gone.hidden = !info.kept;
  }
  return { root, update };
}

const keyInput = () => h("input", { type: "password", autocomplete: "off", spellcheck: "false", maxlength: 32 });
const KEY_HINT = "The vendor's app shows it once LAN control is on: 16 characters, or 32 hexadecimal digits. It is kept by this hub, readable by its owner alone, and never shown.";

function addGateway(heard) {
  const uuid = h("input", { type: "text", maxlength: 64, spellcheck: "false", value: heard?.uuid ?? "", readonly: heard !== undefined });
  const name = h("input", { type: "text", maxlength: 64 });
  const address = h("input", { type: "text", spellcheck: "false" });
  const key = keyInput();
  dialog({
    title: "Add a gateway",
    fields: [field("Gateway uuid", uuid), field("Name", name, "What you call it; it can be changed later."), field("Device key", key, KEY_HINT), heard ? null : field("Address", address, "HOST or HOST:PORT; leave it empty where its advertisements are heard.")].filter(Boolean),
    action: "Add",
    async submit() {
      if (!uuid.value.trim()) return "A gateway needs its uuid.";
      try {
        const body = { uuid: uuid.value.trim(), key: key.value };
        if (name.value.trim()) body.name = name.value.trim();
        if (address.value.trim()) body.address = address.value.trim();
        await post("/api/v1/gateways", body);
        toast("Added; the hub connects to it within a few seconds.");
        return null;
      } catch (error) {
        return error.message;
      }
    },
  });
}

function changeKey(info) {
  const key = keyInput();
  dialog({
    title: `Change the key of ${info.name}`,
    fields: field("Device key", key, KEY_HINT),
    action: "Change the key",
    async submit() {
      try {
        await put(`${gatewayPath(info.id)}/key`, { key: key.value });
        toast("Changed; the hub connects again within a few seconds.");
        return null;
      } catch (error) {
        return error.message;
      }
    },
  });
}

function renameGateway(info) {
  const name = h("input", { type: "text", maxlength: 128, value: store.gateways.get(info.id)?.name ?? "" });
  dialog({
    title: "Rename the gateway",
    fields: field("Name", name),
    action: "Rename",
    async submit() {
      try {
        await put(`${gatewayPath(info.id)}/name`, { name: name.value.trim() || null });
        return null;
      } catch (error) {
        return error.message;
      }
    },
  });
}

function removeGateway(info) {
  dialog({
    title: `Remove ${info.name}?`,
    fields: h("p", { text: "The hub disconnects and forgets the key. The gateway and its devices stay as they are." }),
    action: "Remove",
    danger: true,
    async submit() {
      try {
        await remove(gatewayPath(info.id));
        toast("Removed");
        return null;
      } catch (error) {
        return error.message;
      }
    },
  });
}
