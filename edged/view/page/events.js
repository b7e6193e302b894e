// Events as they come, looked up by camera, label, zone and time; and the story of one.

import { clock, day, el, facts, seconds, write } from "./dom.js";
import { listening } from "./live.js";
import { shortName } from "./overlay.js";
import { known } from "./store.js";

const MOST_SHOWN = 100;

function inWords(event) {
  const where = event.zones.map((visit) => visit.name);
  const lines = event.lines.map((crossing) => `${crossing.name} ${crossing.direction}`);
  return [...new Set([...where, ...lines])].join(", ");
}

function thumb(event, size) {
  const stored = event.snapshot?.state === "stored";
  if (!stored) return el("span", { class: size, role: "img", "aria-label": "no picture" });
  const version = event.snapshot.sha256.slice(0, 8);
  return el("img", { class: size, src: `api/events/${event.event}/snapshot?v=${version}`, alt: `${event.label} before ${event.camera}`, loading: "lazy" });
}

function row(event) {
  const over = event.type === "end";
  return el("li", { "data-event": event.event },
    el("a", { href: `#event/${event.event}` }, thumb(event, "thumb"),
      el("div", {},
        el("p", {}, el("strong", {}, event.label), ` ${shortName(event.event)} · ${event.camera}`),
        el("p", { class: "soft" }, `${day(event.started_at)} ${clock(event.started_at)} · ${seconds(event.duration_s)} · `,
          el("span", { class: over ? "" : "now" }, over ? event.because.join(", ").replaceAll("_", " ") : "goes on")),
        el("p", { class: "soft" }, inWords(event) || "\u00a0"))));
}

function select(name, label, values, chosen) {
  const options = ["", ...values].map((value) => el("option", { value, selected: value === chosen }, value || "any"));
  return el("label", {}, label, el("select", { name }, ...options));
}

function labels() {
  return [...new Set([...(known.info?.classes ?? []).filter((each) => known.cameras.some((camera) => camera.labels.includes(each))),
    ...known.open.map((each) => each.label)])];
}

function moment(local) {
  return local ? new Date(local).toISOString() : "";
}

function matches(event, wanted) {
  return (!wanted.camera || event.camera === wanted.camera) && (!wanted.label || event.label === wanted.label)
    && (!wanted.zone || event.zones.some((visit) => visit.name === wanted.zone))
    && (!wanted.since || event.started_at >= wanted.since) && (!wanted.until || event.started_at < wanted.until);
}

export function events(root, chosen) {
  const zones = [...new Set(known.cameras.flatMap((each) => each.areas).filter((area) => area.kind === "zone").map((area) => area.name))];
  const form = el("form", { class: "filters" },
    select("camera", "camera", known.cameras.map((each) => each.camera), chosen), select("label", "object", labels()), select("zone", "zone", zones),
    el("label", {}, "from", el("input", { name: "since", type: "datetime-local" })),
    el("label", {}, "to", el("input", { name: "until", type: "datetime-local" })));
  const list = el("ul", { class: "events" });
  const none = el("p", { class: "soft" }, "\u00a0");
  root.append(el("h2", {}, "Events"), form, none, list);
  const wanted = () => {
    const given = Object.fromEntries(new FormData(form));
    return { ...given, since: moment(given.since), until: moment(given.until) };
  };
  let asked = 0;
  const look = async () => {
    const turn = ++asked;
    const query = new URLSearchParams(Object.entries({ ...wanted(), limit: MOST_SHOWN }).filter(([, value]) => value));
    const answer = await fetch(`api/events?${query}`).catch(() => null);
    if (turn !== asked) return;
    if (!answer?.ok) {
      write(none, "The events cannot be read just now.");
      return;
    }
    const found = (await answer.json()).events;
    list.replaceChildren(...found.map(row));
    write(none, found.length ? "" : "No event matches.");
  };
  form.addEventListener("change", look);
  form.addEventListener("submit", (event) => event.preventDefault());
  look();
  const quiet = listening(({ detail }) => {
    const before = [...list.children].find((each) => each.dataset.event === detail.event);
    if (before) before.replaceWith(row(detail));
    else if (matches(detail, wanted())) {
      list.prepend(row(detail));
      list.children[MOST_SHOWN]?.remove();
      write(none, "");
    }
  }, ["event"]);
  const again = listening(look, ["now"]);
  return () => { quiet(); again(); };
}

function told(message) {
  const why = message.because.map((each) => each.replaceAll("_", " ")).join(", ");
  const what = { start: "came", update: why, end: `over: ${why}` }[message.type];
  return el("li", {}, el("span", { class: "soft" }, `${clock(message.published_at)} `), what,
    inWords(message) ? el("span", { class: "soft" }, ` (${inWords(message)})`) : undefined);
}

export function event(root, id) {
  const story = el("ol", { class: "story" });
  const left = el("div", {});
  const aside = el("div", {});
  root.append(el("h2", {}, `Event ${shortName(id)}`), el("div", { class: "columns" }, left, el("div", {}, aside, el("h3", {}, "Its story"), story)));
  let picture = "";
  const look = async () => {
    const answer = await fetch(`api/events/${id}`).catch(() => null);
    if (!answer?.ok) {
      left.replaceChildren(el("p", {}, answer?.status === 404 ? "There is no such event any more." : "It cannot be read just now."));
      return;
    }
    const { messages } = await answer.json();
    const latest = messages.at(-1);
    const version = latest.snapshot?.sha256 ?? "none";
    if (version !== picture) {
      picture = version;
      left.replaceChildren(thumb(latest, "snapshot"));
    }
    aside.replaceChildren(facts([
      ["object", latest.label], ["camera", latest.camera], ["score", `${Math.round(latest.score.top * 100)} % at best, median ${Math.round(latest.score.median * 100)} %`],
      ["came", `${day(latest.started_at)} ${clock(latest.started_at)}`], ["was there for", seconds(latest.duration_s)],
      ["over", latest.ended_at ? clock(latest.ended_at) : "it goes on"], ["continues", latest.continues ?? ""], ["name", id],
    ].filter(([, value]) => value)));
    story.replaceChildren(...messages.map(told));
  };
  look();
  return listening(({ detail }) => { if (detail.event === id) look(); }, ["event"]);
}
