// Draws zones, lines and masks on the still picture of a camera, and gives the TOML to paste: the file stays the truth.

import { el, svg, write } from "./dom.js";
import { refreshing } from "./live.js";
import { unpacked } from "./looker.js";
import { areasOf, askForToken, known } from "./store.js";
import { points, problem, toml } from "./toml.js";

const STEP = 0.005; // of the picture, that an arrow key moves a point
const MOVES = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
const WHAT = { zone: "Zone", line: "Line", mask: "Mask" };
const PICTURE_MS = 15000;
const within = (value) => Math.min(1, Math.max(0, value));

// The board: a picture, what is drawn on it, and a handle for each point.
class Board {
  constructor(camera, state, changed) {
    this.state = state;
    this.changed = changed;
    this.canvas = el("canvas", { width: 16, height: 9, role: "img", "aria-label": `still picture of ${camera}` });
    this.drawing = svg("svg", { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" });
    this.handles = el("div", {});
    this.element = el("div", { class: "board" }, this.canvas, this.drawing, this.handles);
    this.drawing.addEventListener("click", (event) => this.add(this.place(event)));
  }

  fit(width, height) {
    [this.canvas.width, this.canvas.height] = [width, height];
    this.element.style.setProperty("--aspect", width / height);
  }

  place(event) {
    const area = this.element.getBoundingClientRect();
    return [within((event.clientX - area.left) / area.width), within((event.clientY - area.top) / area.height)];
  }

  add(point) {
    if (this.state.kind === "line") this.state.points.length = Math.min(this.state.points.length, 1);
    this.state.points.push(point);
    this.changed();
  }

  redraw(others) {
    const shape = (area, name) => {
      const drawn = points(area);
      const given = { class: name, points: drawn.map((point) => point.join(",")).join(" ") };
      if (area.kind !== "line") return [svg("polygon", given)];
      return [svg("polyline", given), ...(drawn.length === 2 ? [this.arrowHead(drawn, name)] : [])];
    };
    this.drawing.replaceChildren(...others.flatMap((area) => shape(area, "other")), ...shape(this.state, "drawn"));
    const wanted = points(this.state);
    while (this.handles.children.length > wanted.length) this.handles.lastChild.remove();
    while (this.handles.children.length < wanted.length) this.handles.append(this.handle(this.handles.children.length));
    wanted.forEach(([x, y], index) => {
      const each = this.handles.children[index];
      each.style.left = `${x * 100}%`;
      each.style.top = `${y * 100}%`;
      each.setAttribute("aria-label", `point ${index + 1} at ${x}, ${y}`);
    });
  }

  // Two short strokes at the end of a line, in the picture's proportions.
  arrowHead([[ax, ay], [bx, by]], name) {
    const aspect = this.canvas.width / this.canvas.height;
    const angle = Math.atan2(by - ay, (bx - ax) * aspect);
    const end = (turn) => [bx + (0.05 * Math.cos(angle + turn)) / aspect, by + 0.05 * Math.sin(angle + turn)];
    return svg("polyline", { class: name, points: [end(2.6), [bx, by], end(-2.6)].map((point) => point.join(",")).join(" ") });
  }

  handle(index) {
    const { state } = this;
    const made = el("button", { type: "button", class: "handle" });
    made.addEventListener("pointerdown", (event) => made.setPointerCapture(event.pointerId));
    made.addEventListener("pointermove", (event) => {
      if (!made.hasPointerCapture(event.pointerId)) return;
      state.points[index] = this.place(event);
      this.changed();
    });
    made.addEventListener("keydown", (event) => {
      if (Object.hasOwn(MOVES, event.key)) state.points[index] = state.points[index].map((value, axis) => within(value + MOVES[event.key][axis]));
      else if (event.key === "Delete" || event.key === "Backspace") state.points.splice(index, 1);
      else return;
      event.preventDefault();
      this.changed();
      (this.handles.children[Math.min(index, this.handles.children.length - 1)] ?? this.element.parentNode.querySelector("button"))?.focus();
    });
    return made;
  }
}

export function editor(root, camera) {
  const state = { kind: "zone", name: "", labels: [], points: [], changed: null };
  const board = new Board(camera, state, () => redraw());
  const name = el("input", { id: "area-name", autocomplete: "off", spellcheck: "false" });
  const labels = el("input", { id: "area-labels", placeholder: "every class", autocomplete: "off" });
  const code = el("textarea", { readonly: true, "aria-label": "TOML to paste into edged.toml", spellcheck: "false" });
  const wrong = el("p", { class: "problem", role: "status" });
  const said = el("span", { class: "soft", role: "status" });
  const copy = el("button", { type: "button", class: "main" }, "Copy");
  const kinds = Object.entries(WHAT).map(([kind, word]) => el("button", { type: "button", "data-kind": kind, onclick: () => choose(kind) }, word));
  const present = el("ul", { class: "plain" });
  const none = el("p", { class: "soft" }, "None.");

  function redraw() {
    const others = areasOf(camera).filter((area) => JSON.stringify(area) !== state.changed);
    board.redraw(others);
    for (const each of kinds) each.setAttribute("aria-pressed", String(each.dataset.kind === state.kind));
    name.disabled = state.kind === "mask";
    const why = problem(state, others, known.info?.classes ?? []);
    write(wrong, why);
    code.value = why ? "" : toml(camera, state);
    copy.disabled = Boolean(why);
    write(said, "");
  }

  function choose(kind) {
    state.kind = kind;
    state.changed = null;
    redraw();
  }

  function change(area) {
    Object.assign(state, { ...area, labels: [...area.labels], points: area.points.map((point) => [...point]), changed: JSON.stringify(area) });
    name.value = area.name;
    labels.value = area.labels.join(", ");
    redraw();
  }

  async function picture() {
    write(said, "waiting for a picture");
    try {
      const answer = await fetch(`api/cameras/${camera}/picture?side=1280`, { signal: AbortSignal.timeout(PICTURE_MS) });
      if (answer.status === 401) askForToken();
      if (answer.status !== 200) throw new Error("none");
      const { bitmap } = await unpacked(answer);
      board.fit(bitmap.width, bitmap.height);
      board.canvas.getContext("2d", { alpha: false }).drawImage(bitmap, 0, 0);
      board.canvas.dataset.shown = "yes";
      bitmap.close();
      write(said, "");
      board.redraw(areasOf(camera).filter((area) => JSON.stringify(area) !== state.changed));
    } catch {
      write(said, "No picture came; try again.");
    }
  }

  name.addEventListener("input", () => { state.name = name.value.trim(); redraw(); });
  labels.addEventListener("input", () => {
    state.labels = labels.value.split(",").map((each) => each.trim()).filter(Boolean);
    redraw();
  });
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.value);
      write(said, "Copied. Paste it into edged.toml, then: systemctl reload edged");
    } catch {
      code.select();
      write(said, "Selected: copy it with Ctrl-C.");
    }
  });
  root.append(el("h2", {}, `Zones and lines of ${camera}`), el("div", { class: "columns" },
    el("div", {}, board.element, el("div", { class: "toolbar" }, ...kinds,
      el("button", { type: "button", onclick: () => board.add([0.4 + 0.03 * (state.points.length % 7), 0.4 + 0.05 * (state.points.length % 5)]) }, "Add a point"),
      el("button", { type: "button", onclick: () => { state.points.pop(); redraw(); } }, "Remove the last"),
      el("button", { type: "button", onclick: picture }, "New picture"))),
    el("div", {},
      el("p", { class: "soft" }, "Click corners in order; drag points, or move them with the arrow keys. A line counts as in from left to right of its arrow."),
      el("label", { for: "area-name" }, "name", name), el("label", { for: "area-labels" }, "classes, with commas", labels),
      wrong, code, el("div", { class: "toolbar" }, copy, said),
      el("h3", {}, "In the running configuration"), none, present)));
  const size = known.states[camera]?.size ?? [16, 9];
  board.fit(size[0] || 16, size[1] || 9);
  let shown = "";
  const quiet = refreshing(() => {
    const areas = areasOf(camera);
    if (JSON.stringify(areas) === shown && shown) return;
    shown = JSON.stringify(areas);
    none.hidden = areas.length > 0;
    present.replaceChildren(...areas.map((area) => el("li", {}, `${area.kind} ${area.name} `, el("button", { type: "button", onclick: () => change(area) }, "Change"))));
    redraw();
  }, ["now", "cameras", "info"]);
  picture();
  return quiet;
}
