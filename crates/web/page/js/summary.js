// What of a device stands on its card: a switch, another control, some readings.
const SWITCHES = ["switch_led", "switch", "switch_1", "switch_on", "start", "master_switch", "alarm_switch", "muffling"];
const SECONDS = ["percent_control", "control", "bright_value_v2", "bright_value", "temp_set", "fan_speed", "dehumidify_set_value", "alarm_set", "switch_2", "mode", "work_mode", "level", "fan_speed_enum"];
const READINGS = [
  "temp_current", "va_temperature", "temp_value", "humidity_current", "va_humidity", "humidity_value", "humidity_indoor", "doorcontact_state", "pir", "presence_state", "watersensor_state",
  "smoke_sensor_status", "gas_sensor_status", "smoke_sensor_value", "cur_power", "forward_energy_total", "add_ele", "cur_voltage", "pm25_value", "co2_value", "percent_state", "work_state", "valve_state",
  "illuminance_value", "bright_value", "switch_mode1", "switch_mode2", "alarm_state", "fault", "countdown_left", "use_time_one", "battery_percentage", "battery_state",
];

const place = (list, code) => {
  const found = list.indexOf(code);
  return found < 0 ? list.length : found;
};

function best(points, list, strict = true) {
  const sorted = points.filter((point) => !strict || list.includes(point.code)).sort((a, b) => place(list, a.code) - place(list, b.code));
  return sorted[0];
}

export function summary(device) {
  const booleans = device.points.filter((point) => point.write?.type === "boolean" && point.read);
  const main = best(booleans, SWITCHES) ?? booleans.find((point) => /^switch/.test(point.code));
  const writable = device.points.filter((point) => point.write && point !== main && ["boolean", "integer", "enum"].includes(point.write.type));
  const second = best(writable, SECONDS);
  const used = [main?.code, second?.code];
  const reported = device.points.filter((point) => !used.includes(point.code) && (point.read || !point.write) && point.read?.type !== "json" && point.read?.type !== "raw" && point.read?.type !== "string");
  const known = reported.filter((point) => READINGS.includes(point.code)).sort((a, b) => place(READINGS, a.code) - place(READINGS, b.code));
  const rest = reported.filter((point) => !READINGS.includes(point.code) && !point.write);
  return { main, second, readings: [...known, ...rest].slice(0, 3) };
}

/** Whether it is on, as far as that makes sense for it. */
export function isOn(device) {
  const { main } = summary(device);
  return main?.state?.value === true;
}

/** When anything of it was last heard. */
export function lastHeard(device) {
  let newest;
  for (const { state } of device.points) if (state && (newest === undefined || state.at > newest)) newest = state.at;
  return newest;
}
