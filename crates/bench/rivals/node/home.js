// The devices: read from profiles or made, asked and written. Requests come in, results and events go out; no socket is known here.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Why a request is refused: the `error` of its answer. */
export class Refused {
  constructor(code, message, details) {
    this.error = details ? { code, message, details } : { code, message };
  }
}

/** Reads every profile of a folder. */
export function readProfiles(folder) {
  const names = readdirSync(folder).filter((name) => name.endsWith('.json')).sort();
  return names.map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')));
}

/** Makes plugs of one shape: `bench-000000` and so on. */
export function makeProfiles(count, prefix) {
  const written = [
    { code: 'switch_1', type: 'Boolean', values: '{}' },
    { code: 'countdown_1', type: 'Integer', values: '{"unit":"s","min":0,"max":86400,"scale":0,"step":1}' },
  ];
  const status = [
    ...written,
    { code: 'cur_power', type: 'Integer', values: '{"unit":"W","min":0,"max":50000,"scale":1,"step":1}' },
    { code: 'cur_voltage', type: 'Integer', values: '{"unit":"V","min":0,"max":5000,"scale":1,"step":1}' },
  ];
  return Array.from({ length: count }, (_, number) => ({
    devid: `${prefix}${String(number).padStart(6, '0')}`,
    category: 'cz',
    function: written,
    status,
    online: true,
    value: [
      { k: 'switch_1', v: false },
      { k: 'countdown_1', v: 0 },
      { k: 'cur_power', v: 0 },
      { k: 'cur_voltage', v: 2300 },
    ],
  }));
}

export class Home {
  constructor(profiles) {
    this.devices = new Map(profiles.map((profile) => [profile.devid, new Device(profile)]));
  }

  devids() {
    return [...this.devices.keys()];
  }

  schemas(data) {
    return this.#named(data).map((device) => device.schema);
  }

  statuses(data) {
    return this.#named(data).map((device) => device.status);
  }

  #named(data) {
    if (!Array.isArray(data)) throw new Refused('invalid_request', 'data is no array of device ids');
    const found = new Array(data.length);
    for (let i = 0; i < data.length; i++) {
      const device = this.devices.get(data[i]);
      if (device === undefined) throw this.#unknown(data);
      found[i] = device;
    }
    return found;
  }

  #unknown(data) {
    if (!data.every((devid) => typeof devid === 'string')) {
      return new Refused('invalid_request', 'data is no array of device ids');
    }
    const unknown = data.filter((devid) => !this.devices.has(devid));
    const details = unknown.map((devid) => ({ devid, code: 'unknown_device', message: `no device ${devid}` }));
    return new Refused('unknown_device', details[0].message, details);
  }

  /** Checks all of a `set_value`, does it, and returns what there is to report, one item per device and item of the request. */
  write(data) {
    if (!Array.isArray(data)) throw new Refused('invalid_request', 'data is no array');
    const items = data.map(shapeOf);
    const wrong = items.flatMap((item) => this.#faults(item));
    if (wrong.length > 0) throw new Refused(wrong[0].code, wrong[0].message, wrong);
    const reports = [];
    for (const { devid, value } of items) {
      const written = this.devices.get(devid).write(value);
      if (written.length > 0) reports.push({ devid, value: written });
    }
    return reports;
  }

  #faults({ devid, value }) {
    const device = this.devices.get(devid);
    if (device === undefined) return [{ devid, code: 'unknown_device', message: `no device ${devid}` }];
    if (!device.status.online) return [{ devid, code: 'device_offline', message: `device ${devid} is offline` }];
    const faults = [];
    for (const { k, v } of value) {
      const fault = device.functions.get(k);
      if (fault === undefined) {
        faults.push({ devid, k, code: 'unsupported_code', message: `device ${devid} has no function ${k}` });
        continue;
      }
      const what = fault(v);
      if (what !== null) faults.push({ devid, k, code: 'invalid_value', message: `${devid} ${k}: ${what}` });
    }
    return faults;
  }
}

class Device {
  constructor({ devid, category, function: functions, status, online, value }) {
    this.schema = { devid, category, function: functions, status };
    this.status = { devid, online, value: value.map((item) => ({ ...item })) };
    this.functions = new Map(functions.map((point) => [point.code, checkOf(point)]));
    this.values = new Map(this.status.value.map((item) => [item.k, item]));
    this.reported = new Set(status.map((point) => point.code));
  }

  /** Returns the new values of the data points that are reported; the last write of a code wins. */
  write(value) {
    const written = new Map();
    for (const { k, v } of value) if (this.reported.has(k)) written.set(k, { k, v });
    for (const { k, v } of written.values()) {
      const item = this.values.get(k);
      if (item !== undefined) {
        item.v = v;
        continue;
      }
      const added = { k, v };
      this.values.set(k, added);
      this.status.value.push(added);
    }
    return [...written.values()];
  }
}

function shapeOf(item) {
  if (!isObject(item)) throw new Refused('invalid_request', 'an item of data is no object');
  const devid = item.devid ?? item.device;
  const { value } = item;
  if (typeof devid !== 'string' || !Array.isArray(value)) {
    throw new Refused('invalid_request', 'an item of data needs devid and an array value');
  }
  for (const one of value) {
    if (!isObject(one) || typeof one.k !== 'string' || one.v === undefined) {
      throw new Refused('invalid_request', 'an item of value needs k and v');
    }
  }
  return { devid, value };
}

/** Makes the check of a function: what is wrong with a value, or null. The schema is parsed once, here. */
function checkOf({ type, values }) {
  const limits = parseLimits(values);
  switch (type) {
    case 'Boolean':
      return (v) => (typeof v === 'boolean' ? null : 'a Boolean is true or false');
    case 'Integer': {
      const min = integerOf(limits.min) ?? -Infinity;
      const max = integerOf(limits.max) ?? Infinity;
      return (v) => {
        if (!Number.isInteger(v)) return 'an Integer is an integer';
        if (v < min) return `less than ${min}`;
        return v > max ? `more than ${max}` : null;
      };
    }
    case 'Enum': {
      const range = Array.isArray(limits.range) ? limits.range : null;
      return (v) => {
        if (typeof v !== 'string') return 'an Enum is a string';
        return range === null || range.includes(v) ? null : `not one of ${range.join(', ')}`;
      };
    }
    case 'String': {
      const maxlen = integerOf(limits.maxlen) ?? Infinity;
      return (v) => {
        if (typeof v !== 'string') return 'a String is a string';
        return Buffer.byteLength(v) > maxlen ? `longer than ${maxlen} bytes` : null;
      };
    }
    case 'Raw': {
      const maxlen = integerOf(limits.maxlen) ?? Infinity;
      return (v) => {
        const bytes = typeof v === 'string' ? Buffer.from(v, 'base64') : null;
        if (bytes === null || bytes.toString('base64') !== v) return 'Raw is a base64 string';
        return bytes.length > maxlen ? `longer than ${maxlen} bytes` : null;
      };
    }
    case 'Bitmap': {
      const bits = Array.isArray(limits.label) ? limits.label.length : integerOf(limits.maxlen) ?? Infinity;
      return (v) => {
        if (!Number.isInteger(v) || v < 0) return 'a Bitmap is an integer from 0';
        return v >= 2 ** bits ? `more than ${bits} bits` : null;
      };
    }
    case 'Json':
    case 'Object':
      return (v) => (isObject(v) || (typeof v === 'string' && holdsJson(v)) ? null : 'an object, or a string that holds JSON');
    default:
      return () => null;
  }
}

/** `values` that do not parse limit nothing. */
function parseLimits(values) {
  try {
    const parsed = JSON.parse(values);
    return isObject(parsed) ? parsed : {};
  } catch {
    return {};
  }
}

/** Numbers may come as strings. */
function integerOf(limit) {
  const number = typeof limit === 'string' && limit.trim() !== '' ? Number(limit) : limit;
  return Number.isInteger(number) ? number : undefined;
}

function holdsJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

export function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
