// What any number of boxes publish over MQTT.

import { el, moment, seconds, write } from "./dom.js";
import { refreshing } from "./live.js";
import { known } from "./store.js";

const HEADS = ["box", "state", "version", "model", "cameras", "frames/s", "dropped", "running for", "last heard"];

function cameras(box) {
  if (!box.online) return "";
  const all = Object.entries(box.cameras);
  const bad = all.filter(([, each]) => each.state !== "online");
  const words = bad.map(([name, each]) => `${name} ${each.state}`).join(", ");
  return `${all.length - bad.length} of ${all.length}${words ? `: ${words}` : ""}`;
}

function row(box) {
  const state = box.online === null ? "unknown" : box.online ? "online" : "offline";
  const stats = box.online ? box.stats : null;
  return el("tr", { "data-box": box.device },
    el("th", { scope: "row" }, box.device), el("td", {}, el("span", { class: `pill ${state}` }, state)), el("td", {}, box.info?.version ?? ""),
    el("td", {}, box.info?.model ?? ""), el("td", {}, cameras(box)), el("td", { class: "number" }, stats?.fps?.toFixed(1) ?? ""),
    el("td", { class: "number" }, stats ? String(stats.dropped) : ""), el("td", {}, stats ? seconds(stats.uptime_s) : ""),
    el("td", {}, box.seen_at ? moment(box.seen_at) : ""));
}

export function fleet(root) {
  const body = el("tbody", {});
  const said = el("p", { class: "soft", role: "status" });
  root.append(el("h2", {}, "Fleet"), said, el("div", { class: "scroll" },
    el("table", {}, el("thead", {}, el("tr", {}, ...HEADS.map((head) => el("th", { scope: "col" }, head)))), body)));
  return refreshing(() => {
    const found = known.fleet;
    if (!found) return write(said, "Nobody listens for other boxes: edged view --fleet.");
    write(said, found.connected ? `${found.boxes.length} boxes at ${found.broker}` : `no connection to the broker ${found.broker}`);
    body.replaceChildren(...found.boxes.map(row));
  }, ["fleet", "now", "connection"]);
}
