// How each write goes: pending, done, or the error in the gateway's words. Each data point has its own.
import { devicePath, put } from "./api.js";
import { changed, keyOf, store } from "./store.js";

const DONE_FOR = 2500;
const states = new Map();
let count = 0;

const at = (device, code) => `${keyOf(device.gateway, device.id)}\u0000${code}`;

export const writeState = (device, code) => states.get(at(device, code)) ?? null;

/** Takes an error away that was read. */
export function dismiss(device, code) {
  states.delete(at(device, code));
  changed(`d:${keyOf(device.gateway, device.id)}`);
}

export async function write(device, code, value) {
  const place = at(device, code);
  const number = ++count;
  const tell = (state) => {
    // A newer write of the same data point has the word.
    if (states.has(place) && states.get(place).number > number) return;
    if (state) states.set(place, { ...state, number });
    else states.delete(place);
    changed(`d:${keyOf(device.gateway, device.id)}`);
  };
  if (store.link === "lost") {
    tell({ phase: "error", text: "there is no connection to the hub: nothing was sent" });
    return;
  }
  tell({ phase: "pending", text: "Sending", value });
  try {
    await put(`${devicePath(device)}/values`, { [code]: value });
    tell({ phase: "done", text: "Done" });
    setTimeout(() => states.get(place)?.number === number && tell(null), DONE_FOR);
  } catch (error) {
    tell({ phase: "error", text: error.message });
  }
}
