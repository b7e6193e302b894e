// Draws zones, lines and masks on the still picture of a camera, and gives the TOML to paste: the file stays the truth.

import { el, svg, write } from "./dom.js";
import { unpacked } from "./looker.js";
import { areasOf, known } from "./store.js";
import { problem, toml } from "./toml.js";

const STEP = 0.005; // of the picture, that an arrow key moves a point
const WHAT = { zone: "Zone", line: "Line", mask: "Mask" };

export function editor(root, camera) {
  const state = { kind: "zone", name: "", labels: [], points: [], changed: "" };
  const canvas = el("canvas", { width: 16, height: 9, role: "img", "aria-label": `still picture of ${camera}` });
  const drawing = svg("svg", { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": true });
  const handles = el("div", {});
  const board = el("div", { class: "board" }, canvas, drawing, handles);
  const name = el("input", { id: "area-name", autocomplete: "off", spellcheck: "false" });
  const labels = el("input", { id: "area-labels", placeholder: "every class", autocomplete: "off" });
  const code = el("textarea", { readonly: true, "aria-label": "TOML to paste into edged.toml", spellcheck: "false" });
  const wrong = el("p", { class: "problem", role: "status" });
  const copied = el("span", { class: "soft", role: "status" });
  const copy = el("button", { type: "button", class: "main" }, "Copy");
  const kinds = Object.entries(WHAT).map(([kind, word]) => el("button", { type: "button", "data-kind": kind, onclick: () => choose(kind) }, word));
  const known_areas = el("ul", {});

  const others = () => areasOf(camera).filter((area) => area.name !== state.changed || area.kind !== state.kind);

  function redraw() {
    const pairs = (points) => points.map((point) => point.join(",")).join(" ");
    const shape = (area) => (area.kind === "line" ? "polyline" : "polygon");
    drawing.replaceChildren(...others().map((area) => svg(shape(area), { class: "other", points: pairs(area.points) })),
      svg(shape(state), { points: pairs(state.points) }));
    while (handles.children.length > state.points.length) handles.lastChild.remove();
    while (handles.children.length < state.points.length) handles.append(handle(handles.children.length));
    [...handles.children].forEach((each, index) => {
      each.style.left = `${state.points[index][0] * 100}%`;
      each.style.top = `${state.points[index][1] * 100}%`;
      each.setAttribute("aria-label", `point ${index + 1} at ${state.points[index].map((value) => value.toFixed(3)).join(", ")}`);
    });
    for (const each of kinds) each.setAttribute("aria-pressed", String(each.dataset.kind === state.kind));
    name.disabled = state.kind === "mask";
    const why = problem(state, others());
    write(wrong, why);
    code.value = why ? "" : toml(camera, state);
    copy.disabled = Boolean(why);
    write(copied, "");
  }

  function place(event) {
    const area = board.getBoundingClientRect();
    return [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height].map((value) => Math.min(1, Math.max(0, value)));
  }

  function handle(index) {
    const made = el("button", { type: "button", class: "handle" });
    made.addEventListener("pointerdown", (event) => made.setPointerCapture(event.pointerId));
    made.addEventListener("pointermove", (event) => {
      if (!made.hasPointerCapture(event.pointerId)) return;
      state.points[index] = place(event);
      redraw();
    });
    made.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
      if (event.key in moves) {
        state.points[index] = state.points[index].map((value, axis) => Math.min(1, Math.max(0, value + moves[event.key][axis])));
      } else if (event.key === "Delete" || event.key === "Backspace") {
        state.points.splice(index, 1);
      } else return;
      event.preventDefault();
      redraw();
    });
    return made;
  }

  function add(point) {
    if (state.kind === "line" && state.points.length === 2) state.points.pop();
    state.points.push(point);
    redraw();
  }

  function choose(kind) {
    state.kind = kind;
    state.changed = "";
    if (kind === "line") state.points.length = Math.min(2, state.points.length);
    redraw();
  }

  function change(area) {
    Object.assign(state, { kind: area.kind, name: area.name, labels: [...area.labels], points: area.points.map((point) => [...point]), changed: area.name });
    name.value = area.name;
    labels.value = area.labels.join(", ");
    redraw();
  }

  async function picture() {
    const answer = await fetch(`api/cameras/${camera}/picture?side=1280`).catch(() => null);
    if (answer?.status !== 200) {
      write(copied, "No picture came; try again.");
      return;
    }
    const { bitmap } = await unpacked(answer);
    [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
    board.style.setProperty("--aspect", bitmap.width / bitmap.height);
    canvas.getContext("2d", { alpha: false }).drawImage(bitmap, 0, 0);
    canvas.dataset.shown = "yes";
    bitmap.close();
  }

  drawing.addEventListener("click", (event) => add(place(event)));
  name.addEventListener("input", () => { state.name = name.value.trim(); redraw(); });
  labels.addEventListener("input", () => {
    state.labels = labels.value.split(",").map((each) => each.trim()).filter(Boolean);
    redraw();
  });
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.value);
      write(copied, "Copied. Paste it into edged.toml, then: systemctl reload edged");
    } catch {
      code.select();
      write(copied, "Selected: copy it with Ctrl-C.");
    }
  });

  const size = known.states[camera]?.size ?? [16, 9];
  if (size[0]) [canvas.width, canvas.height] = size;
  board.style.setProperty("--aspect", canvas.width / canvas.height);
  for (const area of areasOf(camera)) {
    known_areas.append(el("li", {}, `${area.kind} ${area.name} `, el("button", { type: "button", onclick: () => change(area) }, "Change")));
  }
  root.append(el("h2", {}, `Zones and lines of ${camera}`), el("div", { class: "columns" },
    el("div", {}, board, el("div", { class: "toolbar" }, ...kinds,
      el("button", { type: "button", onclick: () => add([0.5, 0.5]) }, "Add a point"),
      el("button", { type: "button", onclick: () => { state.points.pop(); redraw(); } }, "Remove the last"),
      el("button", { type: "button", onclick: picture }, "New picture"))),
    el("div", {},
      el("p", { class: "soft" }, "Click corners in order; drag points, or move them with the arrow keys. A line counts as in from left to right of its arrow."),
      el("label", { for: "area-name" }, "name", name), el("label", { for: "area-labels" }, "classes, with commas", labels),
      wrong, code, el("div", { class: "toolbar" }, copy, copied),
      el("h3", {}, "In the running configuration"), areasOf(camera).length ? known_areas : el("p", { class: "soft" }, "None."))));
  redraw();
  picture();
}
