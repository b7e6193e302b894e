// The last hour as small plots.

import { el, Facts, seconds, svg, write } from "./dom.js";
import { refreshing } from "./live.js";
import { isLive, known } from "./store.js";

const [WIDTH, HEIGHT, LEFT, BOTTOM] = [320, 110, 30, 16];

function scaled(points, top, now, span) {
  return points.map(([at, value]) => {
    const x = LEFT + (1 - (now - at) / span) * (WIDTH - LEFT);
    return `${x.toFixed(1)},${((HEIGHT - BOTTOM) * (1 - value / top) + 4).toFixed(1)}`;
  }).join(" ");
}

function nice(value) {
  const step = 10 ** Math.floor(Math.log10(value || 1));
  return Number((Math.ceil(value / step) * step).toPrecision(6)) || 1;
}

function plot(title, unit, series) {
  const now = known.history.at(-1).at;
  const span = Math.max(60, now - known.history[0].at);
  const top = nice(Math.max(0, ...series.flatMap(({ points }) => points.map(([, value]) => value))));
  const latest = (points) => (points.length ? points.at(-1)[1].toFixed(1) : "unknown");
  const words = series.map(({ name, points }) => `${name} ${latest(points)}`).join(", ");
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT + 6}`, role: "img", "aria-label": `${title}, ${unit}: ${words}` },
    svg("line", { class: "axis", x1: LEFT, x2: WIDTH, y1: HEIGHT - BOTTOM + 4, y2: HEIGHT - BOTTOM + 4 }),
    svg("text", { x: LEFT - 4, y: 12, "text-anchor": "end" }, String(top)), svg("text", { x: LEFT - 4, y: HEIGHT - BOTTOM + 4, "text-anchor": "end" }, "0"),
    svg("text", { x: LEFT, y: HEIGHT + 4 }, `${span < 3500 ? seconds(span) : "an hour"} ago`), svg("text", { x: WIDTH, y: HEIGHT + 4, "text-anchor": "end" }, "now"),
    ...series.map(({ points }, index) => svg("polyline", { class: `series-${index}`, points: scaled(points, top, now, span) })));
  const legend = series.map(({ name, points }, index) => el("span", { class: `legend legend-${index}` }, `${name} ${latest(points)} `));
  return el("section", { class: "card plot" }, el("h3", {}, title), drawing, el("p", { class: "soft" }, ...legend, unit));
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
  const facts = new Facts();
  const none = el("p", { class: "soft line" });
  const plots = el("div", { class: "plots" });
  root.append(el("h2", {}, "Statistics"), facts.element, el("h3", {}, "The last hour"), none, plots);
  return refreshing(() => {
    const said = isLive() ? known.statistics : null;
    facts.show({
      version: known.info?.version ?? "", model: known.info?.model ?? "", engine: known.info?.backend ?? "",
      "running for": said ? seconds(said.uptime_s) : "edged is not running", frames: said ? String(said.frames) : "",
      broker: said ? (said.publish.connected ? "connected" : "not connected") : "", "messages waiting": said ? String(said.publish.waiting) : "",
      temperature: said?.temperature_c ? `${said.temperature_c.toFixed(0)} °C` : "",
    });
    const enough = known.history.length > 1;
    write(none, enough ? "" : "The first figures come within seconds.");
    none.hidden = enough;
    if (!enough) return;
    plots.replaceChildren(
      plot("Frames", "a second", [{ name: "all cameras", points: of("fps") }]),
      plot("Latency", "ms", [{ name: "median", points: of("p50") }, { name: "95 %", points: of("p95") }]),
      plot("Dropped frames", "a second", [{ name: "all cameras", points: rates((point) => point.dropped) }]),
      plot("Memory", "MiB", [{ name: "daemon", points: of("memory_mb") }]),
      ...known.cameras.map(({ camera }) => plot(camera, "frames a second", [{ name: "processed", points: rates((point) => point.processed[camera] ?? 0) }])));
  }, ["now", "statistics", "info", "cameras", "connection"]);
}
