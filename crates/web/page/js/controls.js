// Makes a control of a data point's declaration: toggle, slider, buttons, list, colour, text.
import { h, icon, setText } from "./dom.js";
import { label, unit, word } from "./format.js";
import { deviceName } from "./store.js";
import { dismiss, write, writeState } from "./writes.js";

const SLIDER_STEPS = 4000;
const MOVES = { open: "up", close: "down", stop: "stop" };

/** Returns `{ root, update(point) }`. `compact`: on a card, where space is short. */
export function control(device, point, compact = false) {
  const make = makerOf(point);
  const body = h("div", { class: "body" });
  const status = h("span", { class: "write", role: "status" });
  const root = h("div", { class: "control", "data-code": point.code }, body, status);
  const name = `${label(point.code)} of ${deviceName(device)}`;
  const inner = make(device, point, name, compact);
  body.append(...inner.elements);
  let told = "";
  const update = (now) => {
    const state = writeState(device, point.code);
    root.dataset.phase = state?.phase ?? "";
    inner.update(now, state);
    const text = state ? state.phase + state.text : "";
    if (text !== told) {
      told = text;
      status.className = `write ${state?.phase ?? ""}`;
      status.replaceChildren(...(state ? [mark(state.phase), h("span", { text: state.text })] : []));
      if (state?.phase === "error") status.append(h("button", { class: "dismiss", type: "button", "aria-label": `Dismiss the error of ${name}`, on: { click: () => dismiss(device, point.code) } }, icon("cross")));
    }
  };
  update(point);
  return { root, update };
}

function mark(phase) {
  if (phase === "pending") return h("span", { class: "spin" });
  return icon(phase === "done" ? "check" : "warn");
}

function makerOf(point) {
  const spec = point.write;
  switch (spec.type) {
    case "boolean":
      return point.read || point.state ? toggle : press;
    case "integer":
      return steps(spec) > 0 && steps(spec) <= SLIDER_STEPS ? slider : number;
    case "enum":
      if (spec.range.length > 0 && spec.range.length <= 3 && spec.range.join("").length <= 22) return segments;
      return spec.range.length > 0 ? select : text;
    case "json":
      return colourOf(point) ? colour : json;
    case "bitmap":
      return spec.range.length > 0 ? flags : number;
    default:
      return text;
  }
}

const steps = (spec) => (spec.min === undefined || spec.max === undefined ? 0 : (spec.max - spec.min) / (spec.step || 1));

function toggle(device, point, name) {
  const button = h("button", { class: "toggle", type: "button", role: "switch", "aria-label": name });
  let value = false;
  button.addEventListener("click", () => write(device, point.code, !value));
  return {
    elements: [button],
    update(now, state) {
      value = now.state?.value === true;
      const known = now.state !== undefined && typeof now.state.value === "boolean";
      // What was asked for is shown as asked for, never as done.
      button.setAttribute("aria-checked", known ? String(value) : "mixed");
      button.setAttribute("aria-busy", String(state?.phase === "pending"));
    },
  };
}

function press(device, point, name) {
  const button = h("button", { class: "button small", type: "button", "aria-label": name, on: { click: () => write(device, point.code, true) } }, label(point.code));
  return { elements: [button], update() {} };
}

function slider(device, point, name) {
  const spec = point.write;
  const step = spec.step || 1;
  const input = h("input", { type: "range", min: spec.min, max: spec.max, step, "aria-label": name });
  const output = h("output");
  let held = false;
  const show = (value) => {
    const text = `${value}${spec.unit ? ` ${unit(spec.unit)}` : ""}`;
    setText(output, text);
    input.setAttribute("aria-valuetext", text);
  };
  input.addEventListener("input", () => {
    held = true;
    show(tidy(input.value, spec));
  });
  input.addEventListener("change", () => {
    held = false;
    write(device, point.code, Number(tidy(input.value, spec)));
  });
  input.addEventListener("blur", () => (held = false));
  return {
    elements: [h("div", { class: "slider" }, input, output)],
    update(now, state) {
      if (held) return;
      const value = state?.phase === "pending" ? state.value : now.state?.value;
      if (typeof value !== "number") {
        setText(output, "–");
        return;
      }
      if (Number(input.value) !== value) input.value = value;
      show(state?.phase === "pending" ? tidy(value, spec) : now.state.text);
    },
  };
}

/** A number with as many decimals as the data point has. */
function tidy(value, spec) {
  return Number(value).toFixed(spec.scale ?? 0);
}

function number(device, point, name, compact) {
  const spec = point.write;
  const input = h("input", { type: "number", "aria-label": name, min: spec.min, max: spec.max, step: spec.step || "any", inputmode: "decimal" });
  const send = () => input.value !== "" && write(device, point.code, Number(input.value));
  input.addEventListener("keydown", (event) => event.key === "Enter" && send());
  const button = h("button", { class: "button small", type: "button", "aria-label": `Set ${name}`, on: { click: send } }, "Set");
  return {
    elements: [input, spec.unit ? h("span", { class: "hint", text: unit(spec.unit) }) : null, compact ? null : button].filter(Boolean),
    update(now) {
      if (document.activeElement === input) return;
      const value = now.state?.value;
      input.value = typeof value === "number" ? value : "";
    },
  };
}

function segments(device, point, name) {
  const spec = point.write;
  const buttons = spec.range.map((choice) => {
    const move = point.code === "control" && MOVES[choice];
    const button = h("button", { type: "button", on: { click: () => write(device, point.code, choice) } }, move ? [icon(move), word(choice)] : word(choice));
    return [choice, button];
  });
  return {
    elements: [h("div", { class: "segments", role: "group", "aria-label": name }, buttons.map(([, button]) => button))],
    update(now) {
      for (const [choice, button] of buttons) button.setAttribute("aria-pressed", String(now.state?.value === choice));
    },
  };
}

function select(device, point, name) {
  const spec = point.write;
  const input = h("select", { "aria-label": name }, spec.range.map((choice) => h("option", { value: choice }, word(choice))));
  input.addEventListener("change", () => write(device, point.code, input.value));
  return {
    elements: [input],
    update(now, state) {
      if (state?.phase === "pending") return;
      const value = now.state?.value;
      // A device may be in a state that it does not declare: it is shown all the same.
      const strange = value === undefined || !spec.range.includes(value);
      let extra = input.querySelector("option[data-extra]");
      if (strange) {
        if (!extra) {
          extra = h("option", { "data-extra": true, disabled: true });
          input.prepend(extra);
        }
        extra.value = value ?? "";
        setText(extra, value === undefined ? "–" : `${word(value)} (undeclared)`);
      } else {
        extra?.remove();
      }
      const wanted = value ?? "";
      if (input.value !== wanted && document.activeElement !== input) input.value = wanted;
      if (document.activeElement === input && state?.phase === "error") input.value = wanted;
    },
  };
}

function flags(device, point, name) {
  const spec = point.write;
  const boxes = spec.range.map((flag) => {
    const box = h("input", { type: "checkbox", value: flag });
    box.addEventListener("change", () => write(device, point.code, boxes.filter(([, other]) => other.checked).map(([other]) => other)));
    return [flag, box];
  });
  return {
    elements: [h("div", { class: "row", role: "group", "aria-label": name }, boxes.map(([flag, box]) => h("label", {}, box, ` ${word(flag)}`)))],
    update(now) {
      const set = Array.isArray(now.state?.value) ? now.state.value : [];
      for (const [flag, box] of boxes) box.checked = set.includes(flag);
    },
  };
}

function text(device, point, name) {
  const spec = point.write;
  const input = h("input", { type: "text", "aria-label": name, maxlength: spec.maxlen, spellcheck: "false", placeholder: spec.type === "raw" ? "base64" : "" });
  const send = () => write(device, point.code, input.value);
  input.addEventListener("keydown", (event) => event.key === "Enter" && send());
  return {
    elements: [input, h("button", { class: "button small", type: "button", "aria-label": `Set ${name}`, on: { click: send } }, "Set")],
    update(now) {
      if (document.activeElement !== input && now.state) input.value = now.state.text;
    },
  };
}

function json(device, point, name) {
  const input = h("textarea", { rows: 3, "aria-label": name, spellcheck: "false" });
  let told = "";
  const send = () => {
    let value;
    try {
      value = JSON.parse(input.value);
    } catch {
      input.setCustomValidity("This is no JSON.");
      input.reportValidity();
      return;
    }
    input.setCustomValidity("");
    write(device, point.code, value);
  };
  input.addEventListener("input", () => input.setCustomValidity(""));
  return {
    elements: [input, h("button", { class: "button small", type: "button", "aria-label": `Set ${name}`, on: { click: send } }, "Set")],
    update(now) {
      const next = now.state ? JSON.stringify(now.state.value) : "";
      if (document.activeElement !== input && next !== told) input.value = next;
      told = next;
    },
  };
}

/** Hue, saturation and value of a point that holds a colour, and their range. */
function colourOf(point) {
  if (!/^colou?r_data/.test(point.code)) return null;
  let value = point.state?.value;
  if (typeof value === "string") {
    try {
      value = JSON.parse(value);
    } catch {
      return null;
    }
  }
  if (value && !["h", "s", "v"].every((part) => typeof value[part] === "number")) return null;
  return { value: value ?? null, most: point.code.includes("_v2") ? 1000 : 255 };
}

function colour(device, point, name) {
  const input = h("input", { type: "color", "aria-label": name });
  const output = h("span", { class: "hint mono" });
  const most = colourOf(point).most;
  const asText = typeof point.state?.raw === "string";
  input.addEventListener("change", () => {
    const value = toHsv(input.value, most);
    write(device, point.code, asText ? JSON.stringify(value) : value);
  });
  return {
    elements: [input, output],
    update(now, state) {
      const value = colourOf(now)?.value;
      if (!value || state?.phase === "pending") return;
      if (document.activeElement !== input) input.value = toHex(value, most);
      setText(output, `${Math.round(value.h)}° · ${Math.round((value.s / most) * 100)} % · ${Math.round((value.v / most) * 100)} %`);
    },
  };
}

function toHex({ h: hue, s, v }, most) {
  const [saturation, value] = [s / most, v / most];
  const part = (shift) => {
    const k = (shift + hue / 60) % 6;
    const level = value - value * saturation * Math.max(0, Math.min(k, 4 - k, 1));
    return Math.round(level * 255).toString(16).padStart(2, "0");
  };
  return `#${part(5)}${part(3)}${part(1)}`;
}

function toHsv(hex, most) {
  const [r, g, b] = [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16) / 255);
  const [max, min] = [Math.max(r, g, b), Math.min(r, g, b)];
  const span = max - min;
  let hue = 0;
  if (span > 0) hue = max === r ? ((g - b) / span) % 6 : max === g ? (b - r) / span + 2 : (r - g) / span + 4;
  return { h: Math.round((hue * 60 + 360) % 360), s: Math.round((max === 0 ? 0 : span / max) * most), v: Math.round(max * most) };
}
