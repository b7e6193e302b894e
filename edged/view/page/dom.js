// Makes elements. Text is always set as text: nothing that a camera or a file says is read as HTML.

const SVG = "http://www.w3.org/2000/svg";

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}

export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

// Sets text only where it differs, so that screen readers hear changes and nothing else.
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Names with values; those without a value are left out, and what stays is not made anew.
export class Facts {
  constructor() {
    this.element = el("dl", {});
    this.rows = new Map();
  }

  show(values) {
    for (const [name, value] of Object.entries(values)) {
      if (!this.rows.has(name)) {
        const pair = [el("dt", {}, name), el("dd", {})];
        this.rows.set(name, pair);
        this.element.append(...pair);
      }
      const pair = this.rows.get(name);
      for (const each of pair) each.hidden = !value;
      write(pair[1], value);
    }
  }
}

export function clock(at) {
  return new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

// A time, with its day where that is not today.
export function moment(at) {
  const then = new Date(at);
  if (then.toDateString() === new Date().toDateString()) return clock(at);
  return `${then.toLocaleDateString([], { year: "numeric", month: "short", day: "numeric" })} ${clock(at)}`;
}

export function seconds(value) {
  if (typeof value !== "number") return "";
  if (value < 60) return `${value.toFixed(1)} s`;
  const whole = Math.round(value);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours} h ${minutes} min` : `${minutes} min ${whole % 60} s`;
}
