// Shows a camera: asks for the next picture as long as somebody looks.

import { draw, inWords } from "./overlay.js";
import { areasOf, known } from "./store.js";

const AFTER_FAILURE_MS = 1500;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

export async function unpacked(answer) {
  const buffer = await answer.arrayBuffer();
  const size = new DataView(buffer).getUint32(0);
  const message = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
  const bitmap = await createImageBitmap(new Blob([new Uint8Array(buffer, 4 + size)], { type: "image/jpeg" }));
  return { message, bitmap };
}

export class Looker {
  constructor(camera, canvas, side) {
    this.camera = camera;
    this.canvas = canvas;
    this.side = side;
    this.after = "";
    this.visible = false;
    this.stopped = false;
    this.running = false;
    this.watching = new IntersectionObserver((seen) => {
      this.visible = seen.some((each) => each.isIntersecting);
      this.go();
    });
    this.watching.observe(canvas);
    this.onVisibility = () => this.go();
    document.addEventListener("visibilitychange", this.onVisibility);
  }

  stop() {
    this.stopped = true;
    this.watching.disconnect();
    document.removeEventListener("visibilitychange", this.onVisibility);
    this.abort?.abort();
  }

  get wanted() {
    return !this.stopped && this.visible && document.visibilityState === "visible";
  }

  async go() {
    if (this.running || !this.wanted) return;
    this.running = true;
    while (this.wanted) await this.next();
    this.running = false;
  }

  async next() {
    this.abort = new AbortController();
    try {
      const place = `api/cameras/${this.camera}/picture?side=${this.side}&after=${this.after}`;
      const answer = await fetch(place, { signal: this.abort.signal });
      if (answer.status === 200) this.show(await unpacked(answer));
      else if (answer.status !== 204) await pause(AFTER_FAILURE_MS);
    } catch {
      if (!this.stopped) await pause(AFTER_FAILURE_MS);
    }
  }

  show({ message, bitmap }) {
    if (this.stopped) return;
    this.after = message.sequence;
    const still = new Set(known.open.filter((each) => each.stationary_since).map((each) => each.event));
    draw(this.canvas, bitmap, message, areasOf(this.camera), still);
    bitmap.close();
    this.canvas.dataset.sequence = message.sequence;
    const words = `${this.camera}: ${inWords(message)}`;
    if (this.canvas.getAttribute("aria-label") !== words) this.canvas.setAttribute("aria-label", words);
  }
}
