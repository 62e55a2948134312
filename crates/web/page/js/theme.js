// The switch between light, dark and what the system says.
import { icon } from "./dom.js";

const ORDER = ["auto", "light", "dark"];
const ICONS = { auto: "auto", light: "sun", dark: "moon" };
const system = matchMedia("(prefers-color-scheme: dark)");

function choice() {
  const stored = localStorage.getItem("theme");
  return ORDER.includes(stored) ? stored : "auto";
}

function apply(button) {
  const now = choice();
  const dark = now === "dark" || (now === "auto" && system.matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  const next = ORDER[(ORDER.indexOf(now) + 1) % ORDER.length];
  button.setAttribute("aria-label", `Theme: ${now}; switch to ${next}`);
  button.title = `Theme: ${now}`;
  button.replaceChildren(icon(ICONS[now]));
}

export function startTheme(button) {
  button.addEventListener("click", () => {
    const next = ORDER[(ORDER.indexOf(choice()) + 1) % ORDER.length];
    localStorage.setItem("theme", next);
    apply(button);
  });
  system.addEventListener("change", () => apply(button));
  apply(button);
}
