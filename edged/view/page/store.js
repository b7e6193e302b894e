// What the server says, kept; views listen to `store` for what changed.

export const store = new EventTarget();
export const known = {
  reached: false, connected: false, listens: true, device: "", info: null, cameras: [], states: {}, objects: {}, open: [], statistics: null,
  history: [], fleet: null, session: false, seldom: false,
};

const AGAIN_MS = 2000;
const SILENT_MS = 30000; // the server says something every ten seconds
const HIDDEN_MS = 30000; // a window that nobody sees lets go of its connection
const HISTORY_S = 3600;
const BETWEEN_S = 4;
let source = null;
let watchdog = 0;
let hiding = 0;

function tell(kind, detail) {
  store.dispatchEvent(new CustomEvent(kind, { detail }));
}

// The last hour by the box's own clock; a daemon that was started anew begins anew.
function remember(message) {
  const point = {
    at: Date.parse(message.published_at) / 1000, frames: message.frames, fps: message.fps, memory_mb: message.memory_mb,
    p50: message.latency_ms.total.p50, p95: message.latency_ms.total.p95,
    dropped: Object.values(message.cameras).flatMap((each) => Object.values(each.dropped)).reduce((a, b) => a + b, 0),
    processed: Object.fromEntries(Object.entries(message.cameras).map(([name, each]) => [name, each.processed])),
  };
  const last = known.history.at(-1);
  if (last && point.frames < last.frames) known.history = [];
  if (!last || point.frames < last.frames || point.at - last.at >= BETWEEN_S) known.history.push(point);
  known.history = known.history.filter((each) => each.at > point.at - HISTORY_S);
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
    remember(message);
  },
  event(message) {
    known.open = known.open.filter((each) => each.event !== message.event);
    if (message.type !== "end") known.open.push(message);
  },
  beat() {},
};

export function askForToken() {
  location.assign("login");
}

async function askForTokenIfNeeded() {
  try {
    const answer = await fetch("api/now", { signal: AbortSignal.timeout(SILENT_MS) });
    if (answer.status === 401) askForToken();
  } catch { /* the server is away: the next try may reach it */ }
}

function lost() {
  clearTimeout(watchdog);
  source?.close();
  source = null;
  known.reached = false;
  tell("connection", {});
}

function heard() {
  clearTimeout(watchdog);
  watchdog = setTimeout(() => { lost(); connect(); }, SILENT_MS);
}

export function connect() {
  if (source || document.visibilityState === "hidden") return;
  source = new EventSource("api/stream");
  heard();
  for (const [kind, take] of Object.entries(takes)) {
    source.addEventListener(kind, (event) => {
      const message = JSON.parse(event.data);
      heard();
      take(message);
      known.reached = true;
      tell(kind, message);
    });
  }
  source.addEventListener("error", () => {
    lost();
    askForTokenIfNeeded();
    setTimeout(connect, AGAIN_MS);
  });
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.visibilityState === "hidden") hiding = setTimeout(lost, HIDDEN_MS);
  else connect();
});

export function areasOf(camera) {
  return known.cameras.find((each) => each.camera === camera)?.areas ?? [];
}

// Whether the daemon is there, as far as this page knows.
export function isLive() {
  return known.connected && known.reached;
}
