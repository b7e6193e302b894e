// The last hour as small plots.

import { el, facts, seconds, svg, write } from "./dom.js";
import { listening } from "./live.js";
import { known } from "./store.js";

const [WIDTH, HEIGHT, LEFT, BOTTOM] = [320, 110, 30, 16];

function scaled(points, top, now, span) {
  return points.map(([at, value]) => {
    const x = LEFT + (1 - (now - at) / span) * (WIDTH - LEFT);
    return `${x.toFixed(1)},${((HEIGHT - BOTTOM) * (1 - value / top) + 4).toFixed(1)}`;
  }).join(" ");
}

function nice(value) {
  const step = 10 ** Math.floor(Math.log10(value || 1));
  return Math.ceil(value / step) * step || 1;
}

function plot(title, unit, series) {
  const now = Date.now() / 1000;
  const values = series.flatMap(({ points }) => points.map(([, value]) => value));
  const span = Math.max(60, now - (known.history[0]?.at ?? now));
  const top = nice(Math.max(0, ...values));
  const latest = series.map(({ name, points }) => `${name} ${points.length ? points.at(-1)[1].toFixed(1) : "unknown"}`).join(", ");
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT + 6}`, role: "img", "aria-label": `${title}, ${unit}: ${latest}` },
    svg("line", { class: "axis", x1: LEFT, x2: WIDTH, y1: HEIGHT - BOTTOM + 4, y2: HEIGHT - BOTTOM + 4 }),
    svg("text", { x: LEFT - 4, y: 12, "text-anchor": "end" }, String(top)), svg("text", { x: LEFT - 4, y: HEIGHT - BOTTOM + 4, "text-anchor": "end" }, "0"),
    svg("text", { x: LEFT, y: HEIGHT + 4 }, `${span < 3500 ? seconds(span) : "an hour"} ago`), svg("text", { x: WIDTH, y: HEIGHT + 4, "text-anchor": "end" }, "now"),
    ...series.map(({ points }, index) => svg("polyline", { class: `series-${index}`, points: scaled(points, top, now, span) })));
  return el("section", { class: "card plot" }, el("h3", {}, title), drawing, el("p", { class: "soft" }, `${latest} ${unit}`));
}

const of = (key) => known.history.filter((point) => typeof point[key] === "number").map((point) => [point.at, point[key]]);

function rates(read) {
  const found = [];
  for (let index = 1; index < known.history.length; index += 1) {
    const [before, now] = [known.history[index - 1], known.history[index]];
    const more = read(now) - read(before);
    if (more >= 0 && now.at > before.at) found.push([now.at, more / (now.at - before.at)]);
  }
  return found;
}

export function statistics(root) {
  const top = el("div", {});
  const none = el("p", { class: "soft" });
  const plots = el("div", { class: "plots" });
  root.append(el("h2", {}, "Statistics"), top, el("h3", {}, "The last hour"), none, plots);
  const refresh = () => {
    const said = known.statistics;
    top.replaceChildren(facts([
      ["version", known.info?.version ?? ""], ["model", known.info?.model ?? ""], ["engine", known.info?.backend ?? ""],
      ["running for", said ? seconds(said.uptime_s) : ""], ["frames", said ? String(said.frames) : ""],
      ["broker", said ? (said.publish.connected ? "connected" : "not connected") : ""], ["messages waiting", said ? String(said.publish.waiting) : ""],
      ["temperature", said?.temperature_c ? `${said.temperature_c.toFixed(0)} °C` : ""],
    ].filter(([, value]) => value)));
    write(none, known.history.length > 1 ? "" : "The first figures come within seconds.");
    if (known.history.length < 2) return;
    plots.replaceChildren(
      plot("Frames", "a second", [{ name: "all cameras", points: of("fps") }]),
      plot("Latency", "ms", [{ name: "median", points: of("p50") }, { name: "95 %", points: of("p95") }]),
      plot("Dropped frames", "a second", [{ name: "all cameras", points: rates((point) => point.dropped) }]),
      plot("Memory", "MiB", [{ name: "daemon", points: of("memory_mb") }]),
      ...known.cameras.map(({ camera }) => plot(camera, "frames a second", [{ name: "processed", points: rates((point) => point.processed[camera] ?? 0) }])));
  };
  refresh();
  return listening(refresh, ["now", "statistics", "info", "cameras"]);
}
