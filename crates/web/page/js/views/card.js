// A device on the home view: what it is, a switch, some readings, one more control.
import { control } from "../controls.js";
import { h, icon, setText } from "../dom.js";
import { label, setAge, shown } from "../format.js";
import { deviceName, isLive } from "../store.js";
import { lastHeard, summary } from "../summary.js";

export const deviceLink = (device) => `#/device/${encodeURIComponent(device.gateway)}/${encodeURIComponent(device.id)}`;

/** How tall it is: what is in it is of few kinds. */
export function cardHeight(device) {
  const { readings, second } = summary(device);
  return 76 + (readings.length > 0 ? 52 : 0) + (second ? 42 : 0);
}

export function card(device) {
  const link = h("a", { href: deviceLink(device) });
  const sub = h("span", { class: "sub" });
  const badge = h("span", { class: "badge" }, icon(device.kind));
  const head = h("header", {}, badge, h("div", { class: "names" }, h("h3", {}, link), h("p", { class: "sub" }, sub)));
  const readings = h("dl", { class: "readings", hidden: true });
  const second = h("div", { class: "second" });
  const root = h("article", { class: "card" }, head, readings, second);
  let made = "";
  let parts = {};

  const update = (now) => {
    const what = summary(now);
    const shape = [what.main?.code, what.second?.code, what.second?.write?.type, ...what.readings.map((point) => point.code)].join("|");
    if (shape !== made) {
      made = shape;
      parts = build(now, what);
    }
    setText(link, deviceName(now));
    const live = isLive(now);
    const on = live && what.main?.state?.value === true;
    root.className = `card${on ? " on" : ""}${now.online ? (live ? "" : " stale") : " offline"}`;
    setAge(sub, lastHeard(now), now.online ? (live ? "" : "Not current · ") : "Offline · ");
    if (lastHeard(now) === undefined) setText(sub, now.online ? "Nothing reported yet" : "Offline");
    parts.main?.update(what.main);
    parts.second?.update(what.second);
    what.readings.forEach((point, index) => {
      const [, value] = parts.readings[index];
      setText(value, shown(point));
      value.title = value.textContent;
    });
  };

  function build(now, what) {
    head.querySelector(".control")?.remove();
    const built = { readings: [] };
    if (what.main) {
      built.main = control(now, what.main, true);
      head.append(built.main.root);
    }
    second.replaceChildren();
    if (what.second) {
      built.second = control(now, what.second, true);
      second.append(h("div", { class: "compact" }, h("span", { class: "hint", "aria-hidden": "true", text: label(what.second.code) }), built.second.root));
    }
    built.readings = what.readings.map((point) => [h("dt", { text: label(point.code) }), h("dd")]);
    readings.hidden = what.readings.length === 0;
    readings.replaceChildren(...built.readings.map((pair) => h("div", {}, pair)));
    return built;
  }

  update(device);
  return { root, update };
}
