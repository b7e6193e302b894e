// All cameras in a grid, and one alone with all that is known of it.

import { el, Facts, moment, seconds, write } from "./dom.js";
import { Looker } from "./looker.js";
import { shortName } from "./overlay.js";
import { isLive, known, store } from "./store.js";

const KINDS = ["now", "cameras", "camera", "removed", "objects", "statistics", "event", "connection", "info", "beat"];
const OLD_MS = 8000; // an online camera whose picture is older than this says so

// Calls `act` for what changed, at most once a frame of the screen; returns what ends that.
export function listening(act, kinds = KINDS) {
  for (const kind of kinds) store.addEventListener(kind, act);
  return () => kinds.forEach((kind) => store.removeEventListener(kind, act));
}

export function refreshing(act, kinds = KINDS) {
  let due = 0;
  const quiet = listening(() => {
    due ||= requestAnimationFrame(() => { due = 0; act(); });
  }, kinds);
  act();
  return () => {
    quiet();
    cancelAnimationFrame(due);
  };
}

export function stateOf(camera) {
  if (!known.reached) return { state: "offline", reason: "no connection to the page's server" };
  if (!known.connected) return { state: "offline", reason: "edged is not running" };
  return known.states[camera] ?? { state: "opening", reason: "" };
}

function countsOf(camera) {
  const objects = known.objects[camera];
  if (!isLive() || !objects?.available) return "";
  return Object.entries(objects.labels).filter(([, each]) => each.all).map(([label, each]) => `${each.all} ${label}`).join(", ") || "nothing";
}

function rateOf(camera) {
  const last = known.history.slice(-4);
  const [first, now] = [last[0], last.at(-1)];
  if (!isLive() || !now || now.at <= first.at) return "";
  return `${(((now.processed[camera] ?? 0) - (first.processed[camera] ?? 0)) / (now.at - first.at)).toFixed(1)} frames/s`;
}

// A picture with its overlay, and why there is none.
function viewOf(camera, side) {
  const [width, height] = known.states[camera]?.size ?? [0, 0];
  const canvas = el("canvas", { role: "img", "aria-label": camera, width: width || 16, height: height || 9 });
  const why = el("p", { class: "why" });
  const element = el("div", { class: "view" }, canvas, why);
  const looker = new Looker(camera, canvas, side);
  const refresh = () => {
    const [wide, high] = known.states[camera]?.size ?? [0, 0];
    if (high) element.style.setProperty("--aspect", wide / high);
    const { state, reason } = stateOf(camera);
    const age = performance.now() - looker.shownAt;
    const old = looker.shownAt && age > OLD_MS ? `no new picture for ${Math.round(age / 1000)} s` : "";
    write(why, state === "online" ? old : [state, reason].filter(Boolean).join(": "));
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
  const quiet = refreshing(() => {
    const names = known.cameras.map((each) => each.camera);
    for (const [name, each] of cards) {
      if (!names.includes(name)) {
        each.stop();
        each.element.remove();
        cards.delete(name);
      }
    }
    names.forEach((name, index) => {
      if (!cards.has(name)) cards.set(name, card(name));
      const { element, refresh } = cards.get(name);
      if (grid.children[index] !== element) grid.insertBefore(element, grid.children[index] ?? null);
      refresh();
    });
    write(none, names.length ? "" : "No camera yet.");
    none.hidden = names.length > 0;
  });
  return () => {
    quiet();
    for (const each of cards.values()) each.stop();
  };
}

function factsOf(camera) {
  const state = stateOf(camera);
  const counts = isLive() ? known.statistics?.cameras?.[camera] : null;
  const total = isLive() ? known.statistics?.latency_ms?.total : null;
  const dropped = Object.entries(counts?.dropped ?? {}).filter(([, number]) => number).map(([cause, number]) => `${number} ${cause}`).join(", ");
  const followed = known.cameras.find((each) => each.camera === camera)?.followed;
  return {
    state: [state.state, state.reason].filter(Boolean).join(": "),
    since: state.since ? moment(state.since) : "",
    decoder: state.decoder ?? "",
    picture: state.size?.[0] ? `${state.size[0]}x${state.size[1]}` : "",
    pictures: isLive() && known.seldom ? "seldom: detection needs the processor" : "",
    rate: rateOf(camera),
    processed: counts ? String(counts.processed) : "",
    dropped: counts ? dropped || "0" : "",
    reconnects: state.reconnects === undefined ? "" : String(state.reconnects),
    latency: total?.p50 ? `${total.p50.toFixed(0)} ms median, ${total.p95.toFixed(0)} ms 95 %` : "",
    model: known.info?.model ?? "",
    engine: known.info?.backend ?? "",
    "there now": followed === false ? "objects are not followed: [track] enabled" : countsOf(camera),
  };
}

// What goes on before a camera; links stay where they are while their words change.
function goesOn(camera) {
  const list = el("ul", { class: "plain" });
  const none = el("p", { class: "soft" }, "Nothing goes on.");
  const refresh = () => {
    const mine = isLive() ? known.open.filter((each) => each.camera === camera) : [];
    const rows = new Map([...list.children].map((each) => [each.dataset.event, each]));
    for (const [event, row] of rows) if (!mine.some((each) => each.event === event)) row.remove();
    for (const each of mine) {
      const row = rows.get(each.event) ?? list.appendChild(el("li", { "data-event": each.event },
        el("a", { href: `#event/${each.event}` }), el("span", {})));
      write(row.firstChild, `${each.label} ${shortName(each.event)}`);
      write(row.lastChild, ` since ${moment(each.started_at)}, ${seconds(each.duration_s)}${each.stationary_since ? ", stands still" : ""}`);
    }
    none.hidden = mine.length > 0;
  };
  return { element: el("div", {}, none, list), refresh };
}

export function camera(root, name) {
  const view = viewOf(name, 1280);
  const facts = new Facts();
  const open = goesOn(name);
  const gone = el("p", { hidden: true }, "There is no camera of that name.");
  root.append(el("h2", {}, name), gone, el("div", { class: "columns" }, view.element, el("div", {},
    el("p", {}, el("a", { href: `#edit/${name}` }, "Draw zones and lines"), " · ", el("a", { href: `#events/${name}` }, "Its events")),
    facts.element, el("h3", {}, "Goes on"), open.element)));
  const quiet = refreshing(() => {
    gone.hidden = !known.connected || known.cameras.some((each) => each.camera === name);
    facts.show(factsOf(name));
    open.refresh();
    view.refresh();
  });
  return () => {
    quiet();
    view.looker.stop();
  };
}
