// Words and numbers for people.
import { now } from "./store.js";

const UNITS = { "℃": "°C", "℉": "°F", "kW·h": "kWh", "ug/m3": "µg/m³", "%RH": "%", c: "°C", f: "°F" };
const LABELS = {
  switch_led: "Light", switch: "Power", bright_value: "Brightness", bright_value_v2: "Brightness", temp_value: "White tone", temp_value_v2: "White tone",
  colour_data: "Colour", colour_data_v2: "Colour", scene_data: "Scene", scene_data_v2: "Scene", temp_current: "Temperature", temp_set: "Target",
  va_temperature: "Temperature", va_humidity: "Humidity", humidity_value: "Humidity", humidity_current: "Humidity", humidity_indoor: "Humidity",
  percent_control: "Position", percent_state: "Position now", battery_percentage: "Battery", battery_state: "Battery", doorcontact_state: "Door", pir: "Motion",
  cur_power: "Power", cur_voltage: "Voltage", cur_current: "Current", add_ele: "Energy", forward_energy_total: "Energy", pm25_value: "PM2.5", co2_value: "CO₂",
  watersensor_state: "Leak", smoke_sensor_status: "Smoke", gas_sensor_status: "Gas", temper_alarm: "Tampering", control: "Move", work_mode: "Mode",
};

/** What on and off, or a word, mean for some data points. */
const MEANINGS = {
  doorcontact_state: { true: "open", false: "closed" }, temper_alarm: { true: "tampered", false: "none" }, pir: { pir: "motion", none: "no motion" },
  presence_state: { presence: "somebody", none: "nobody" },
};

export const unit = (text) => UNITS[text] ?? text ?? "";

export function label(code) {
  if (LABELS[code]) return LABELS[code];
  const words = code.replace(/_v\d$/, "").replaceAll("_", " ").trim();
  return words ? words[0].toUpperCase() + words.slice(1) : code;
}

export const word = (text) => (typeof text === "string" ? text.replaceAll("_", " ") : String(text));

/** The value of a point with its unit. */
export function shown(point) {
  const state = point.state;
  if (!state) return "–";
  const spec = point.read ?? point.write;
  const meaning = MEANINGS[point.code]?.[String(state.value)];
  if (meaning) return meaning;
  const long = state.text.length > 80 ? `${state.text.slice(0, 79)}…` : state.text;
  if (spec?.type === "bitmap") return state.text === "" || state.raw === 0 ? "none" : long.replaceAll(",", ", ").replaceAll("_", " ");
  if (spec?.type === "enum") return word(long);
  const suffix = unit(spec?.unit);
  return suffix && state.text !== "" ? `${long} ${suffix}` : long || "(empty)";
}

export function age(at, to = now()) {
  const seconds = Math.max(0, Math.round((to - at) / 1000));
  if (seconds < 2) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  const days = Math.floor(seconds / 86_400);
  return days === 1 ? "1 day ago" : `${days} days ago`;
}

export const clock = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
export const moment = (at) => new Date(at).toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });

/** Keeps all ages on the page true. */
export function startAges() {
  setInterval(() => {
    if (document.hidden) return;
    for (const element of document.querySelectorAll("[data-at]")) {
      const text = (element.dataset.before ?? "") + age(Number(element.dataset.at));
      if (element.textContent !== text) element.textContent = text;
    }
  }, 1000);
}

export function setAge(element, at, before = "") {
  if (at === undefined || at === null) {
    delete element.dataset.at;
    element.textContent = "";
    return;
  }
  element.dataset.at = at;
  if (before) element.dataset.before = before;
  const text = before + age(at);
  if (element.textContent !== text) element.textContent = text;
  element.title = moment(at);
}
