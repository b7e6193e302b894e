// All cameras in a grid, and one alone with all that is known of it.

import { clock, el, facts, seconds, write } from "./dom.js";
import { Looker } from "./looker.js";
import { shortName } from "./overlay.js";
import { known, store } from "./store.js";

const KINDS = ["now", "cameras", "camera", "removed", "objects", "statistics", "event", "connection", "info"];

export function listening(act, kinds = KINDS) {
  for (const kind of kinds) store.addEventListener(kind, act);
  return () => kinds.forEach((kind) => store.removeEventListener(kind, act));
}

function stateOf(camera) {
  if (!known.connected || !known.reached) return { state: "offline", reason: "edged is not there" };
  return known.states[camera] ?? { state: "opening", reason: "" };
}

function countsOf(camera) {
  const objects = known.objects[camera];
  if (!objects?.available) return "";
  return Object.entries(objects.labels).filter(([, each]) => each.all).map(([label, each]) => `${each.all} ${label}`).join(", ");
}

export function rateOf(camera) {
  const last = known.history.slice(-7);
  const [first, now] = [last[0], last.at(-1)];
  const frames = (now?.processed[camera] ?? 0) - (first?.processed[camera] ?? 0);
  return now && now.at > first.at && frames >= 0 ? `${(frames / (now.at - first.at)).toFixed(1)} frames/s` : "";
}

// A picture with its overlay, and why there is none.
function viewOf(camera, side) {
  const [width, height] = known.states[camera]?.size ?? [16, 9];
  const canvas = el("canvas", { role: "img", "aria-label": camera, width: Math.max(width, 16), height: Math.max(height, 9) });
  const why = el("p", { class: "why" });
  const element = el("div", { class: "view" }, canvas, why);
  const looker = new Looker(camera, canvas, side);
  const refresh = () => {
    const [wide, high] = known.states[camera]?.size ?? [0, 0];
    if (high) element.style.setProperty("--aspect", wide / high);
    const { state, reason } = stateOf(camera);
    write(why, state === "online" ? "" : [state, reason].filter(Boolean).join(": "));
  };
  return { element, looker, refresh };
}

function card(camera) {
  const view = viewOf(camera, 640);
  const pill = el("span", { class: "pill" });
  const counts = el("span", { class: "soft" });
  const rate = el("span", { class: "soft" });
  const caption = el("figcaption", {}, el("strong", {}, camera), pill, counts, rate);
  const element = el("figure", { class: "card", "data-camera": camera }, el("a", { href: `#camera/${camera}` }, view.element, caption));
  const refresh = () => {
    const { state } = stateOf(camera);
    pill.className = `pill ${state}`;
    write(pill, state);
    write(counts, countsOf(camera) || "\u00a0");
    write(rate, rateOf(camera));
    view.refresh();
  };
  return { element, refresh, stop: () => view.looker.stop() };
}

export function live(root) {
  const grid = el("div", { class: "grid" });
  const none = el("p", { class: "soft" });
  root.append(el("h2", {}, "Live"), none, grid);
  const cards = new Map();
  const refresh = () => {
    const names = known.cameras.map((each) => each.camera);
    for (const [name, each] of cards) {
      if (!names.includes(name)) {
        each.stop();
        each.element.remove();
        cards.delete(name);
      }
    }
    for (const name of names) {
      if (!cards.has(name)) cards.set(name, card(name));
      const { element } = cards.get(name);
      if (element.parentNode !== grid) grid.append(element);
    }
    for (const each of cards.values()) each.refresh();
    write(none, names.length ? "" : "No camera yet.");
  };
  refresh();
  const quiet = listening(refresh);
  return () => {
    quiet();
    for (const each of cards.values()) each.stop();
  };
}

function factsOf(camera) {
  const state = stateOf(camera);
  const counts = known.statistics?.cameras?.[camera];
  const total = known.statistics?.latency_ms?.total;
  const dropped = Object.entries(counts?.dropped ?? {}).filter(([, number]) => number).map(([cause, number]) => `${number} ${cause}`).join(", ");
  return [
    ["state", [state.state, state.reason].filter(Boolean).join(": ")],
    ["since", state.since ? clock(state.since) : ""],
    ["decoder", state.decoder ?? ""],
    ["picture", state.size?.[0] ? `${state.size[0]}x${state.size[1]}` : ""],
    ["rate", rateOf(camera)],
    ["processed", String(counts?.processed ?? "")],
    ["dropped", dropped || "0"],
    ["reconnects", String(state.reconnects ?? "")],
    ["latency", total?.p50 ? `${total.p50.toFixed(0)} ms median, ${total.p95.toFixed(0)} ms 95 %` : ""],
    ["model", known.info?.model ?? ""],
    ["engine", known.info?.backend ?? ""],
    ["there now", countsOf(camera) || "nothing"],
  ].filter(([, value]) => value);
}

function openEvents(camera) {
  const mine = known.open.filter((each) => each.camera === camera);
  if (!mine.length) return el("p", { class: "soft" }, "Nothing goes on.");
  return el("ul", {}, ...mine.map((each) => el("li", {},
    el("a", { href: `#event/${each.event}` }, `${each.label} ${shortName(each.event)}`),
    ` since ${clock(each.started_at)}, ${seconds(each.duration_s)}${each.stationary_since ? ", stands still" : ""}`)));
}

export function camera(root, name) {
  const view = viewOf(name, 1280);
  const aside = el("div", {});
  root.append(el("h2", {}, name), el("div", { class: "columns" }, view.element, el("div", {}, aside,
    el("p", {}, el("a", { href: `#edit/${name}` }, "Draw zones and lines"), " · ", el("a", { href: `#events/${name}` }, "Its events")))));
  const refresh = () => {
    aside.replaceChildren(facts(factsOf(name)), el("h3", {}, "Goes on"), openEvents(name));
    view.refresh();
  };
  refresh();
  const quiet = listening(refresh);
  return () => {
    quiet();
    view.looker.stop();
  };
}
