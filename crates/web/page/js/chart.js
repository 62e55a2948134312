// The chart of a data point over the last hour, day or week: a line with its band, or stretches of a state.
import { devicePath, get } from "./api.js";
import { h, setText, svg } from "./dom.js";
import { label, moment, unit, word } from "./format.js";
import { keyOf, now, store } from "./store.js";

const HOUR = 3_600_000;
const RANGES = [["hour", "Hour", HOUR, HOUR / 6], ["day", "Day", 24 * HOUR, 4 * HOUR], ["week", "Week", 168 * HOUR, 24 * HOUR]];
const [HEIGHT, LEFT, BOTTOM, TOP] = [240, 48, 24, 8];
/** As wide as there is room, so that letters keep their shape. */
let WIDTH = 720;
const COLOURS = 6;
/** How often a chart that is seen is drawn again. */
const AGAIN = 15_000;
const SOON = 1500;

export function chartPanel(device) {
  const points = device.points.filter((point) => ["boolean", "integer", "enum", "bitmap"].includes((point.read ?? point.write)?.type) && (point.read || point.state));
  const preferred = ["temp_current", "va_temperature", "humidity_value", "cur_power", "percent_state", "switch_led", "switch_1", "switch", "doorcontact_state", "pir"];
  const first = preferred.find((code) => points.some((point) => point.code === code)) ?? points[0]?.code;
  const choice = h("select", { "aria-label": "Data point of the chart" }, points.map((point) => h("option", { value: point.code }, label(point.code) === point.code ? point.code : `${label(point.code)} (${point.code})`)), h("option", { value: "" }, "In reach"));
  choice.value = first ?? "";
  let range = RANGES[0];
  const buttons = RANGES.map((one) => h("button", { type: "button", on: { click: () => pick(one) } }, one[1]));
  const body = h("div", { class: "chart" });
  const note = h("p", { class: "hint", role: "status" });
  const root = h("section", { class: "panel", "aria-labelledby": "chart-title" },
    h("div", { class: "chart-bar" }, h("h2", { id: "chart-title", text: "History" }), h("div", { class: "row" }, choice, h("div", { class: "segments", role: "group", "aria-label": "Time of the chart" }, buttons))), body, note);
  let timer = 0;
  let request = 0;
  let alive = true;
  let last = null;
  const onResize = () => last && draw(...last);
  addEventListener("resize", onResize, { passive: true });

  choice.addEventListener("change", load);
  function pick(one) {
    range = one;
    load();
  }

  async function load() {
    clearTimeout(timer);
    buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(RANGES[index] === range)));
    if (store.session && !store.session.history) {
      body.replaceChildren();
      setText(note, "This hub keeps no history.");
      return;
    }
    const mine = ++request;
    const to = Math.round(now());
    const from = to - range[2];
    const query = new URLSearchParams({ from, to, points: 400, limit: 5000 });
    if (choice.value) query.set("point", choice.value);
    try {
      const series = await get(`${devicePath(device)}/history?${query}`);
      if (mine !== request || !alive) return;
      draw(series, from, to);
      timer = setTimeout(load, AGAIN);
    } catch (error) {
      if (mine !== request || !alive) return;
      body.replaceChildren();
      setText(note, error.code === "no_history" ? "This hub keeps no history." : `The history cannot be read: ${error.message}`);
      if (error.code !== "no_history") timer = setTimeout(load, AGAIN);
    }
  }

  function draw(series, from, to) {
    last = [series, from, to];
    WIDTH = Math.max(260, Math.round(body.clientWidth) || 720);
    const segments = stretches(series, from, to);
    setText(note, series.next ? "There are more changes than fit; look at a shorter time for all of them." : "");
    if (segments.length === 0) {
      body.replaceChildren();
      setText(note, "Nothing is known of this time.");
      return;
    }
    const numeric = series.number && segments.every((one) => typeof one.value === "number");
    body.replaceChildren(...(numeric ? numbers(segments, series, from, to, range, title()) : states(segments, from, to, range, title())));
  }

  const title = () => (choice.value ? label(choice.value) : "In reach");

  return {
    root,
    shown: load,
    update(current, what) {
      if (what.has("session")) load();
      else if (what.has(`d:${keyOf(device.gateway, device.id)}`) && range[0] === "hour") {
        clearTimeout(timer);
        timer = setTimeout(load, SOON);
      }
    },
    destroy() {
      alive = false;
      clearTimeout(timer);
      removeEventListener("resize", onResize);
    },
  };
}

/** Returns what held from when to when; where nothing was known there is nothing. */
function stretches(series, from, to) {
  const out = [];
  const length = { minute: 60_000, hour: HOUR, day: 24 * HOUR }[series.resolution];
  if (length) {
    for (const item of series.items) out.push({ from: Math.max(from, item.at), to: Math.min(to, item.at + length), value: item.mean, min: item.min, max: item.max });
    return out;
  }
  const changes = [...(series.before ? [{ ...series.before, at: from }] : []), ...series.items];
  changes.forEach((change, index) => {
    if (change.value === null) return;
    const value = typeof change.value === "object" ? JSON.stringify(change.value) : change.value;
    const end = Math.min(to, changes[index + 1]?.at ?? to);
    const last = out.at(-1);
    // The same again is one stretch.
    if (last && last.to === change.at && last.value === value) last.to = end;
    else out.push({ from: change.at, to: end, value, min: value, max: value });
  });
  return out;
}

function frame(from, to, range) {
  const x = (at) => LEFT + ((at - from) / (to - from)) * (WIDTH - LEFT - 8);
  const grid = [];
  const step = range[3];
  const zone = new Date(to).getTimezoneOffset() * 60_000;
  // Where there is little room, every second one is named.
  const each = WIDTH < 460 && range[0] !== "week" ? 2 : 1;
  let count = 0;
  for (let at = Math.ceil((from - zone) / step) * step + zone; at < to; at += step) {
    const named = count++ % each === 0 && x(at) < WIDTH - 24;
    const text = range[0] === "week" ? new Date(at).toLocaleDateString([], { weekday: "short" }) : new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
    grid.push(svg("line", { class: "grid", x1: x(at), x2: x(at), y1: TOP, y2: HEIGHT - BOTTOM }), named ? svg("text", { x: x(at), y: HEIGHT - 6, "text-anchor": "middle" }, text) : svg("g"));
  }
  return { x, grid };
}

function picture(name, children) {
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": name }, children);
}

function numbers(segments, series, from, to, range, title) {
  const { x, grid } = frame(from, to, range);
  let low = Math.min(...segments.map((one) => one.min));
  let high = Math.max(...segments.map((one) => one.max));
  const [least, most] = [low, high];
  if (low === high) [low, high] = [low - 1, high + 1];
  const step = nice((high - low) / 4);
  low = Math.floor(low / step) * step;
  high = Math.ceil(high / step) * step;
  const y = (value) => TOP + (1 - (value - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const round = (value) => Number(value.toPrecision(6)).toString();
  for (let value = low; value <= high + step / 2; value += step) {
    grid.push(svg("line", { class: "grid", x1: LEFT, x2: WIDTH - 8, y1: y(value), y2: y(value) }), svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, round(value)));
  }
  let line = "";
  let bands = "";
  let last = null;
  for (const one of segments) {
    const joined = last !== null && Math.abs(one.from - last) < 1000;
    line += `${joined ? "L" : "M"}${x(one.from).toFixed(1)} ${y(one.value).toFixed(1)}L${x(one.to).toFixed(1)} ${y(one.value).toFixed(1)}`;
    if (one.max > one.min) bands += `M${x(one.from).toFixed(1)} ${y(one.max).toFixed(1)}H${x(one.to).toFixed(1)}V${y(one.min).toFixed(1)}H${x(one.from).toFixed(1)}Z`;
    last = one.to;
  }
  const total = segments.reduce((sum, one) => sum + (one.to - one.from), 0);
  const mean = segments.reduce((sum, one) => sum + one.value * (one.to - one.from), 0) / Math.max(1, total);
  const suffix = series.unit ? ` ${unit(series.unit)}` : "";
  const facts = [["Last", segments.at(-1).value], ["Least", least], ["Mean", mean], ["Greatest", most]].map(([name, value]) => [name, `${Number(value.toFixed(2))}${suffix}`]);
  const drawing = picture(`${title}: ${facts.map(([name, text]) => `${name.toLowerCase()} ${text}`).join(", ")}`, [grid, bands ? svg("path", { class: "band", d: bands }) : [], svg("path", { class: "line", d: line })].flat());
  return [drawing, ...pointer(drawing, segments, x, (one) => `${Number(one.value.toFixed(2))}${suffix}`, y),
    h("div", { class: "facts" }, facts.map(([name, text]) => h("div", {}, name, h("b", { text }))))];
}

function states(segments, from, to, range, title) {
  const { x, grid } = frame(from, to, range);
  const named = (value) => (value === true ? "on" : value === false ? "off" : word(String(value)));
  const names = [...new Set(segments.map((one) => named(one.value)))];
  const onOff = names.every((name) => name === "on" || name === "off");
  const colour = (name) => (onOff ? (name === "on" ? "c1" : "c0") : `c${(names.indexOf(name) % COLOURS) + 1}`);
  const share = new Map();
  const bars = segments.map((one) => {
    const name = named(one.value);
    share.set(name, (share.get(name) ?? 0) + one.to - one.from);
    return svg("rect", { class: colour(name), x: x(one.from), y: 70, width: Math.max(1, x(one.to) - x(one.from)), height: 80 });
  });
  const total = [...share.values()].reduce((sum, time) => sum + time, 0);
  const told = [...share].map(([name, time]) => `${name} ${Math.round((time / Math.max(1, total)) * 100)} %`);
  const drawing = picture(`${title}: ${told.join(", ")} of the time`, [grid, bars].flat());
  return [drawing, ...pointer(drawing, segments, x, (one) => named(one.value)), h("div", { class: "legend" }, [...share.keys()].map((name, index) => h("span", {}, h("i", { class: colour(name) }), told[index])))];
}

/** What was when, under the pointer. */
function pointer(drawing, segments, x, text, y) {
  const tip = h("div", { class: "tip", hidden: true });
  const cross = svg("line", { class: "cross", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  drawing.append(cross);
  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const place = ((event.clientX - box.left) / box.width) * WIDTH;
    const one = segments.find((segment) => x(segment.from) <= place && place <= x(segment.to));
    tip.hidden = !one;
    cross.setAttribute("visibility", one ? "visible" : "hidden");
    if (!one) return;
    cross.setAttribute("x1", place);
    cross.setAttribute("x2", place);
    setText(tip, `${text(one)} · since ${moment(one.from)}`);
    tip.style.left = `${Math.min(Math.max(event.clientX - box.left, 90), box.width - 90)}px`;
  });
  drawing.addEventListener("pointerleave", () => {
    tip.hidden = true;
    cross.setAttribute("visibility", "hidden");
  });
  return [tip];
}

function nice(step) {
  const power = 10 ** Math.floor(Math.log10(step));
  return [1, 2, 2.5, 5, 10].find((factor) => factor * power >= step) * power;
}
