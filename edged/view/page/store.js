// What the server says, kept; views listen to `store` for what changed.

export const store = new EventTarget();
export const known = {
  reached: false, connected: false, device: "", info: null, cameras: [], states: {}, objects: {}, open: [], statistics: null,
  history: [], fleet: null,
};

const AGAIN_MS = 2000;
const HISTORY_S = 3600;

function tell(kind, detail) {
  store.dispatchEvent(new CustomEvent(kind, { detail }));
}

const takes = {
  now(message) { Object.assign(known, message); },
  connection(message) { known.connected = message.connected; },
  info(message) { known.info = message; },
  cameras(message) { known.cameras = message.cameras; },
  camera(message) { known.states[message.camera] = message; },
  removed(message) { delete known.states[message.camera]; delete known.objects[message.camera]; },
  objects(message) { known.objects[message.camera] = message; },
  fleet(message) { known.fleet = message; },
  statistics(message) {
    known.statistics = message;
    const total = message.latency_ms.total;
    const dropped = Object.values(message.cameras).flatMap((each) => Object.values(each.dropped)).reduce((a, b) => a + b, 0);
    const processed = Object.fromEntries(Object.entries(message.cameras).map(([name, each]) => [name, each.processed]));
    const at = Date.now() / 1000;
    known.history.push({ at, fps: message.fps, p50: total.p50, p95: total.p95, memory_mb: message.memory_mb, dropped, processed });
    known.history = known.history.filter((point) => point.at > at - HISTORY_S);
  },
  event(message) {
    known.open = known.open.filter((each) => each.event !== message.event);
    if (message.type !== "end") known.open.push(message);
  },
};

async function askForTokenIfNeeded() {
  try {
    const answer = await fetch("api/now");
    if (answer.status === 401) location.assign("login");
  } catch { /* the server is away: the next try may reach it */ }
}

export function connect() {
  const source = new EventSource("api/stream");
  for (const [kind, take] of Object.entries(takes)) {
    source.addEventListener(kind, (event) => {
      const message = JSON.parse(event.data);
      take(message);
      known.reached = true;
      tell(kind, message);
    });
  }
  source.addEventListener("error", () => {
    known.reached = false;
    tell("connection", {});
    if (source.readyState === EventSource.CLOSED) {
      askForTokenIfNeeded();
      setTimeout(connect, AGAIN_MS);
    }
  });
}

export function areasOf(camera) {
  return known.cameras.find((each) => each.camera === camera)?.areas ?? [];
}
