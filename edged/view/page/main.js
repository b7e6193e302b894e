// The page: which view is shown, and whether there is a connection.

import { editor } from "./editor.js";
import { event, events } from "./events.js";
import { fleet } from "./fleet.js";
import { camera, listening, live } from "./live.js";
import { statistics } from "./statistics.js";
import { connect, known } from "./store.js";
import { write } from "./dom.js";

const TITLES = { live: "Live", events: "Events", statistics: "Statistics", fleet: "Fleet" };
const VIEWS = { live, camera, events, event, statistics, edit: editor, fleet };
const main = document.getElementById("main");
let leave = () => {};

function show() {
  const [name, argument] = location.hash.slice(1).split("/");
  const chosen = Object.hasOwn(VIEWS, name) ? name : "live";
  leave();
  main.replaceChildren();
  leave = VIEWS[chosen](main, argument ?? "") ?? (() => {});
  document.title = `edged: ${TITLES[chosen] ?? argument}`;
  const section = { camera: "live", edit: "live", event: "events" }[chosen] ?? chosen;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${section}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function status() {
  const line = document.getElementById("connection");
  line.className = known.reached && (known.connected || !known.listens) ? "" : "lost";
  write(line, !known.reached ? "connection lost, trying again" : known.connected ? "connected" : known.listens ? "edged is not running" : "fleet");
  write(document.getElementById("device"), known.device || "edged");
  document.getElementById("fleet-link").hidden = !known.fleet;
  document.getElementById("logout").hidden = !known.session;
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the hash names the view
  main.focus();
});
window.addEventListener("hashchange", () => {
  show();
  main.focus();
});
listening(status, ["now", "connection", "fleet"]);
// Views are made once something is known, so that they need not be made again.
listening(({ type }) => { if (type === "now" && !main.hasChildNodes()) show(); }, ["now"]);
connect();
