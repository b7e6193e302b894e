// Shows a camera: asks for the next picture as long as somebody looks and the camera gives pictures.

import { draw, inWords } from "./overlay.js";
import { areasOf, askForToken, isLive, known, store } from "./store.js";

const AFTER_FAILURE_MS = 1500;
const LONGEST_MS = 20000;
const QUICK_MS = 1000;
const WAKES = ["camera", "now", "cameras"];
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
    this.shownAt = 0; // of the newest picture, by this window's clock
    this.visible = false;
    this.stopped = false;
    this.running = false;
    this.wake = () => this.go();
    this.watching = new IntersectionObserver((seen) => {
      this.visible = seen.at(-1).isIntersecting;
      this.go();
    });
    this.watching.observe(canvas);
    document.addEventListener("visibilitychange", this.wake);
    for (const kind of WAKES) store.addEventListener(kind, this.wake);
  }

  stop() {
    this.stopped = true;
    this.watching.disconnect();
    document.removeEventListener("visibilitychange", this.wake);
    for (const kind of WAKES) store.removeEventListener(kind, this.wake);
    this.abort?.abort();
  }

  get wanted() {
    const gives = isLive() && ["online", "frozen"].includes(known.states[this.camera]?.state);
    return !this.stopped && this.visible && gives && document.visibilityState === "visible";
  }

  async go() {
    if (this.running || !this.wanted) return;
    this.running = true;
    while (this.wanted) await this.next();
    this.running = false;
  }

  async next() {
    this.abort = new AbortController();
    const began = performance.now();
    try {
      const place = `api/cameras/${this.camera}/picture?side=${this.side}&after=${this.after}`;
      const signal = AbortSignal.any([this.abort.signal, AbortSignal.timeout(LONGEST_MS)]);
      const answer = await fetch(place, { signal });
      if (answer.status === 200) this.show(await unpacked(answer));
      else if (answer.status === 401) askForToken();
      else if (answer.status !== 204 || performance.now() - began < QUICK_MS) await pause(AFTER_FAILURE_MS);
    } catch {
      if (!this.stopped) await pause(AFTER_FAILURE_MS);
    }
  }

  show({ message, bitmap }) {
    if (!this.stopped) {
      this.after = message.sequence;
      this.shownAt = performance.now();
      known.seldom = message.seldom === true;
      const still = new Set(known.open.filter((each) => each.stationary_since).map((each) => each.event));
      draw(this.canvas, bitmap, message, areasOf(this.camera), still);
      this.canvas.dataset.sequence = message.sequence;
      const words = `${this.camera}: ${inWords(message)}`;
      if (this.canvas.getAttribute("aria-label") !== words) this.canvas.setAttribute("aria-label", words);
    }
    bitmap.close();
  }
}
