// Starts the page: theme, live events, and the view that the address names.
import { get, remove } from "./api.js";
import { setText } from "./dom.js";
import { startAges } from "./format.js";
import { startLive } from "./live.js";
import { store, watch } from "./store.js";
import { startTheme } from "./theme.js";
import { deviceView } from "./views/device.js";
import { gatewaysView } from "./views/gateways.js";
import { homeView } from "./views/home.js";
import { logView } from "./views/log.js";

const main = document.getElementById("main");
let view = null;

function route() {
  const parts = location.hash.replace(/^#\/?/, "").split("/").map(decode);
  if (parts[0] === "device" && parts.length === 3) return { tab: "home", title: "Device", make: () => deviceView(parts[1], parts[2]) };
  if (parts[0] === "gateways") return { tab: "gateways", title: "Gateways", make: gatewaysView };
  if (parts[0] === "log") return { tab: "log", title: "Log", make: logView };
  return { tab: "home", title: "Home", make: homeView };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function show(first = false) {
  const { tab, title, make } = route();
  view?.destroy?.();
  main.replaceChildren();
  view = make();
  main.append(view.root);
  view.shown?.();
  document.title = `${title} · Hearthgate`;
  for (const link of document.querySelectorAll("[data-tab]")) {
    if (link.dataset.tab === tab) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!first) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
}

function showLink() {
  const pill = document.getElementById("pill");
  const banner = document.getElementById("banner");
  const texts = { live: "Live", connecting: "Connecting", lost: "Not connected" };
  pill.dataset.state = store.link;
  setText(pill.lastElementChild, texts[store.link]);
  const lost = store.link === "lost";
  banner.hidden = !lost;
  setText(banner, lost ? `No connection to the hub: ${store.problem}. What you see is how it was; connecting again by itself.` : "");
}

async function start() {
  startTheme(document.getElementById("theme"));
  startAges();
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
  addEventListener("hashchange", () => show());
  watch((what) => {
    if (what.has("link")) showLink();
    view?.update?.(what);
  });
  show(true);
  showLink();
  startLive();
  try {
    store.session = await get("/api/v1/session");
    const logout = document.getElementById("logout");
    logout.hidden = !store.session.login;
    logout.addEventListener("click", async () => {
      await remove("/api/v1/session");
      location.assign("/login");
    });
    view?.update?.(new Set(["session"]));
  } catch {
    // The stream tells that the hub is away.
  }
}

start();
