// Events as they come, looked up by camera, label, zone and time; and the story of one.

import { clock, el, Facts, moment, seconds, write } from "./dom.js";
import { listening } from "./live.js";
import { shortName } from "./overlay.js";
import { askForToken, known } from "./store.js";

const MOST_SHOWN = 100;

function inWords(event) {
  const where = event.zones.map((visit) => visit.name);
  const lines = event.lines.map((crossing) => `${crossing.name} ${crossing.direction}`);
  return [...new Set([...where, ...lines])].join(", ");
}

function because(event) {
  return event.because.map((each) => each.replaceAll("_", " ")).join(", ");
}

// Its picture, or an empty place of the same size: before there is one, and when the file is gone.
function picture(event, size, before) {
  const place = event.snapshot?.state === "stored" ? `api/events/${event.event}/snapshot?v=${event.snapshot.sha256.slice(0, 12)}` : "";
  if (before && before.dataset.place === place) return before;
  const empty = el("span", { class: size, role: "img", "aria-label": "no picture", "data-place": place });
  if (!place) return empty;
  const image = el("img", { class: size, src: place, alt: `${event.label} before ${event.camera}`, loading: "lazy", "data-place": place });
  image.addEventListener("error", () => image.replaceWith(empty));
  return image;
}

class Row {
  constructor(event) {
    this.link = el("a", { href: `#event/${event.event}` });
    this.element = el("li", { "data-event": event.event }, this.link);
    this.take(event);
  }

  take(event) {
    if (this.event && event.revision < this.event.revision) return;
    this.event = event;
    const over = event.type === "end";
    this.link.replaceChildren(picture(event, "thumb", this.link.firstChild), el("div", {},
      el("p", {}, el("strong", {}, event.label), ` ${shortName(event.event)} · ${event.camera}`),
      el("p", { class: "soft" }, `${moment(event.started_at)} · ${seconds(event.duration_s)} · `,
        el("span", { class: over ? "" : "now" }, over ? because(event) : "goes on")),
      el("p", { class: "soft" }, inWords(event) || "\u00a0")));
  }
}

function choice(name, label) {
  const list = el("select", { name });
  const offer = (values, chosen) => {
    const wanted = chosen ?? list.value;
    const all = ["", ...new Set([...values, wanted].filter(Boolean))];
    if ([...list.options].map((each) => each.value).join() === all.join() && list.value === wanted) return;
    list.replaceChildren(...all.map((value) => el("option", { value }, value || "any")));
    list.value = wanted;
  };
  return { element: el("label", {}, label, list), offer };
}

function instant(local) {
  const at = new Date(local);
  return local && at.getFullYear() < 10000 ? at.toISOString() : "";
}

function matches(event, wanted) {
  return (!wanted.camera || event.camera === wanted.camera) && (!wanted.label || event.label === wanted.label)
    && (!wanted.zone || event.zones.some((visit) => visit.name === wanted.zone))
    && (!wanted.since || event.started_at >= wanted.since) && (!wanted.until || event.started_at < wanted.until);
}

const later = (one, other) => [one.started_at, one.event].join() > [other.started_at, other.event].join();

// The newest events that match, in order of their start.
class List {
  constructor() {
    this.element = el("ul", { class: "events" });
    this.rows = [];
  }

  show(found) {
    const before = new Map(this.rows.map((row) => [row.event.event, row]));
    this.rows = found.map((event) => {
      const row = before.get(event.event) ?? new Row(event);
      row.take(event);
      return row;
    });
    this.element.replaceChildren(...this.rows.map((row) => row.element));
  }

  take(event, wanted) {
    const index = this.rows.findIndex((row) => row.event.event === event.event);
    if (index >= 0) {
      this.rows[index].take(event);
      if (!matches(event, wanted)) {
        this.rows[index].element.remove();
        this.rows.splice(index, 1);
      }
      return;
    }
    if (!matches(event, wanted)) return;
    const place = this.rows.findIndex((row) => later(event, row.event));
    const at = place < 0 ? this.rows.length : place;
    if (at >= MOST_SHOWN) return;
    const row = new Row(event);
    this.element.insertBefore(row.element, this.rows[at]?.element ?? null);
    this.rows.splice(at, 0, row);
    for (const gone of this.rows.splice(MOST_SHOWN)) gone.element.remove();
  }
}

export function events(root, chosen) {
  const [cameras, labels, zones] = [choice("camera", "camera"), choice("label", "object"), choice("zone", "zone")];
  const form = el("form", { class: "filters" }, cameras.element, labels.element, zones.element,
    el("label", {}, "from", el("input", { name: "since", type: "datetime-local", max: "9999-12-31T23:59" })),
    el("label", {}, "to", el("input", { name: "until", type: "datetime-local", max: "9999-12-31T23:59" })));
  const list = new List();
  const none = el("p", { class: "soft line", role: "status" });
  let seen = [];
  root.append(el("h2", {}, "Events"), form, none, list.element);
  const offer = (camera) => {
    cameras.offer(known.cameras.map((each) => each.camera), camera);
    labels.offer([...new Set([...seen, ...known.open.map((each) => each.label)])]);
    zones.offer(known.cameras.flatMap((each) => each.areas).filter((area) => area.kind === "zone").map((area) => area.name));
  };
  const wanted = () => {
    const given = Object.fromEntries(new FormData(form));
    return { ...given, since: instant(given.since), until: instant(given.until) };
  };
  const say = (text) => write(none, text || (list.rows.length ? "\u00a0" : known.cameras.some((each) => each.followed) || !known.cameras.length
    ? "No event matches." : "Objects are not followed, so there are no events: [track] enabled."));
  let asked = 0;
  const look = async () => {
    const turn = ++asked;
    const query = new URLSearchParams(Object.entries({ ...wanted(), limit: MOST_SHOWN }).filter(([, value]) => value));
    const answer = await fetch(`api/events?${query}`).catch(() => null);
    if (turn !== asked) return;
    if (answer?.status === 401) askForToken();
    if (!answer?.ok) {
      say("The events cannot be read just now.");
      return;
    }
    const found = await answer.json();
    seen = found.labels;
    offer();
    list.show(found.events);
    say("");
  };
  form.addEventListener("change", look);
  form.addEventListener("submit", (event) => event.preventDefault());
  offer(chosen);
  look();
  const quiet = listening(({ detail }) => { list.take(detail, wanted()); say(""); }, ["event"]);
  const again = listening(() => { offer(); look(); }, ["now", "cameras"]);
  return () => { quiet(); again(); };
}

function told(message) {
  const what = { start: "came", update: because(message), end: `over: ${because(message)}` }[message.type];
  return el("li", {}, el("span", { class: "soft" }, `${clock(message.published_at)} `), what,
    inWords(message) ? el("span", { class: "soft" }, ` (${inWords(message)})`) : undefined);
}

export function event(root, id) {
  const story = el("ol", { class: "story" });
  const left = el("div", { class: "view still" });
  const facts = new Facts();
  const gone = el("p", { class: "line", role: "status" });
  root.append(el("h2", {}, `Event ${shortName(id)}`), gone,
    el("div", { class: "columns" }, left, el("div", {}, facts.element, el("h3", {}, "Its story"), story)));
  let asked = 0;
  const look = async () => {
    const turn = ++asked;
    const answer = await fetch(`api/events/${id}`).catch(() => null);
    if (turn !== asked) return;
    if (answer?.status === 401) askForToken();
    write(gone, answer?.ok ? "" : answer?.status === 404 ? "There is no such event any more." : "It cannot be read just now.");
    if (!answer?.ok) return;
    const { messages } = await answer.json();
    const latest = messages.at(-1);
    const shown = picture(latest, "snapshot", left.firstChild);
    if (shown !== left.firstChild) left.replaceChildren(shown);
    facts.show({
      object: latest.label, camera: latest.camera,
      score: `${Math.round(latest.score.top * 100)} % at best, median ${Math.round(latest.score.median * 100)} %`,
      came: moment(latest.started_at), "was there for": seconds(latest.duration_s), over: latest.ended_at ? moment(latest.ended_at) : "it goes on",
      continues: latest.continues ?? "", name: id,
    });
    story.replaceChildren(...messages.map(told));
  };
  look();
  const quiet = listening(({ detail }) => { if (detail.event === id && detail.because[0] !== "heartbeat") look(); }, ["event"]);
  const again = listening(look, ["now"]);
  return () => { quiet(); again(); };
}
