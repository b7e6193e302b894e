"""The page in a real Chromium, before a real daemon that sees a square walk."""

from __future__ import annotations

import http.server
import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import pytest

from tests.boxes import Box, squares_picture
from tests.brokers import Broker, free_port, wait_for
from tests.view.looking import STEP, TRACK, ZONE, View, socket_of, walking_box

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

VIEWS = {
    "live": "Live",
    "camera/gate": "gate",
    "events": "Events",
    "statistics": "Statistics",
    "edit/gate": "Zones and lines",
    "fleet": "Fleet",
}
EXPECTED = ("Failed to load resource", "net::ERR", "getImageData")  # lost connections, and what a test reads
# Where the red square is in the canvas, and the edges of the drawn box on its middle row and column.
EDGES = """async () => {
  const { hue } = await import("/overlay.js");
  const canvas = document.querySelector("canvas[data-sequence]");
  const context = canvas.getContext("2d");
  context.fillStyle = `hsl(${hue("red")} 85% 60%)`;
  const [r, g, b] = context.fillStyle.match(/[0-9a-f]{2}/g).map((two) => parseInt(two, 16));
  const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
  const is = (x, y, wanted) => wanted(...data.slice(4 * (y * width + x), 4 * (y * width + x) + 3));
  const red = (a, b, c) => a > 200 && b < 70 && c < 70;
  const drawn = (x, y, z) => Math.abs(x - r) < 12 && Math.abs(y - g) < 12 && Math.abs(z - b) < 12;
  const xs = [], ys = [];
  for (let y = 0; y < height; y += 1) for (let x = 0; x < width; x += 1) if (is(x, y, red)) { xs.push(x); ys.push(y); }
  const [x1, x2, y1, y2] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const middle = [Math.round((x1 + x2) / 2), Math.round((y1 + y2) / 2)];
  const columns = [...Array(width).keys()].filter((x) => is(x, middle[1], drawn));
  const rows = [...Array(height).keys()].filter((y) => y > middle[1] && is(middle[0], y, drawn));
  return { sequence: Number(canvas.dataset.sequence), square: [x1, x2, y2],
           box: [Math.min(...columns), Math.max(...columns), Math.max(...rows)] };
}"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Box, View]]:
    """A box at work and its page; tests of this file share them."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "broker").mkdir()
    broker = Broker(folder / "broker", free_port()).start()
    with walking_box(folder, broker.port) as box, View(folder, socket_of(box)) as view:
        wait_for(lambda: view.now()["open"], timeout_s=30, what="an event goes on")
        yield box, view
    broker.kill()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A new window; whatever it complains about fails the test."""
    complaints: list[str] = []
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(20_000)
    page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    page.close()
    assert not [each for each in complaints if not any(harmless in each for harmless in EXPECTED)]


def test_boxes_lie_on_the_objects_of_the_very_picture(home: tuple[Box, View], page: Page) -> None:
    page.goto(f"{home[1].url}#camera/gate")
    page.wait_for_selector("canvas[data-sequence]")
    seen: dict[int, Any] = {}
    until_s = time.monotonic() + 30
    while len(seen) < 8 and time.monotonic() < until_s:
        found = page.evaluate(EDGES)
        seen[found["sequence"]] = found
    assert len(seen) == 8, "pictures follow each other"
    assert len({found["square"][0] // STEP for found in seen.values()}) > 2, "the square walks"
    for found in seen.values():
        assert found["square"] == pytest.approx(found["box"], abs=5), found


def test_the_live_page_says_what_there_is(home: tuple[Box, View], page: Page) -> None:
    page.goto(home[1].url)
    card = page.locator("[data-camera=gate]")
    card.locator(".pill.online").wait_for()
    page.get_by_text("1 red").wait_for()
    page.get_by_text("frames/s").first.wait_for()
    assert page.locator("#connection").inner_text() == "connected"
    page.locator("canvas[aria-label='gate: 1 red']").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    card.locator("a").focus()
    page.keyboard.press("Enter")
    page.get_by_text("MJPG").or_(page.get_by_text("mjpeg")).first.wait_for()
    assert page.url.endswith("#camera/gate")


def test_an_event_comes_has_a_picture_and_tells_its_story(home: tuple[Box, View], page: Page) -> None:
    page.goto(f"{home[1].url}#events")
    first = page.locator("ul.events li").first
    first.wait_for()
    page.locator("ul.events img").first.wait_for()
    wait_for(
        lambda: page.evaluate(
            "[...document.querySelectorAll('ul.events img')].some((image) => image.naturalWidth > 10)"
        ),
        what="a picture of it",
    )
    page.select_option("select[name=zone]", "all")
    page.locator("ul.events li").first.wait_for()
    page.select_option("select[name=label]", "red")
    page.fill("input[name=since]", "2100-01-01T00:00")
    page.get_by_text("No event matches.").wait_for()
    page.fill("input[name=since]", "")
    page.locator("ul.events a").first.click()
    page.locator("ol.story li", has_text="came").wait_for()
    page.locator("dd", has_text="gate").wait_for()


def test_a_new_event_appears_by_itself(tmp_path: Path, broker: Broker, page: Page) -> None:
    with walking_box(tmp_path, broker.port, device="other") as box, View(tmp_path, socket_of(box)) as view:
        page.goto(f"{view.url}#events")
        page.get_by_text("No event matches.").or_(page.locator("ul.events li")).first.wait_for()
        page.locator("ul.events .now").first.wait_for(timeout=40_000)
        before = page.locator("ul.events li").count()
        box.cameras["yard"] = box.cameras["gate"]  # whoever is there comes
        box.write()
        box.signal(signal.SIGHUP)
        wait_for(
            lambda: page.locator("ul.events li").count() > before, timeout_s=30, what="a new one appears by itself"
        )
        box.signal(signal.SIGKILL)
        box.wait()
        page.get_by_text("edged is not running").wait_for()
        box.start()
        page.get_by_text("restart").first.wait_for(timeout=40_000)


def test_zones_are_drawn_pasted_and_in_force(home: tuple[Box, View], page: Page) -> None:
    box, view = home
    page.goto(f"{view.url}#edit/gate")
    page.wait_for_selector("canvas[data-shown]")
    board = page.locator(".board").bounding_box()
    assert board is not None
    corners = [(0.2, 0.2), (0.8, 0.2), (0.8, 0.9)]
    for x, y in corners:
        page.mouse.click(board["x"] + x * board["width"], board["y"] + y * board["height"])
    page.get_by_text("Give it a name").wait_for()
    page.fill("#area-name", "all")
    page.get_by_text("There is a zone of that name.").wait_for()
    page.fill("#area-name", "drawn")
    page.fill("#area-labels", "red, blue")
    clicked = page.locator("textarea").input_value()
    page.locator(".handle").nth(2).focus()
    page.keyboard.press("ArrowUp")
    wait_for(lambda: page.locator("textarea").input_value() != clicked, what="the point has moved")
    drawn = page.locator("textarea").input_value()
    assert 'labels = ["red", "blue"]' in drawn
    page.locator("button[data-kind=line]").click()
    wait_for(lambda: "[[camera.line]]" in page.locator("textarea").input_value(), what="it is a line now")
    line = page.locator("textarea").input_value().replace("drawn", "across")

    before = box.areas
    box.areas = f"{ZONE}\n{drawn}\n{line}"
    box.write()
    box.signal(signal.SIGHUP)
    try:
        wait_for(
            lambda: [area["name"] for area in view.now()["cameras"][0]["areas"]] == ["all", "drawn", "across"],
            timeout_s=20,
            what=f"the daemon has taken {drawn}{line}",
        )
        points = view.now()["cameras"][0]["areas"][1]["points"]
        assert points == [[pytest.approx(x, abs=0.01), pytest.approx(y, abs=0.01)] for x, y in corners]
    finally:
        box.areas = before
        box.write()
        box.signal(signal.SIGHUP)


def test_an_area_that_crosses_itself_is_not_given(home: tuple[Box, View], page: Page) -> None:
    page.goto(f"{home[1].url}#edit/gate")
    board = page.locator(".board").bounding_box()
    assert board is not None
    for x, y in [(0.2, 0.2), (0.8, 0.8), (0.8, 0.2), (0.2, 0.8)]:
        page.mouse.click(board["x"] + x * board["width"], board["y"] + y * board["height"])
    page.get_by_text("cross each other").wait_for()
    assert page.locator("textarea").input_value() == ""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1440])
def test_every_view_fits_its_window(home: tuple[Box, View], page: Page, width: int, scheme: Any) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    for name, heading in VIEWS.items():
        page.goto(f"{home[1].url}#{name}")
        page.locator("main h2", has_text=heading).wait_for()
        page.wait_for_timeout(300)  # its content
        wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], f"{name} is wider than its window"


def test_nothing_jumps_while_it_is_looked_at(home: tuple[Box, View], page: Page) -> None:
    page.add_init_script(
        "window.jumps = 0; new PerformanceObserver((list) => { for (const entry of list.getEntries())"
        " if (!entry.hadRecentInput) window.jumps += entry.value; }).observe({ type: 'layout-shift', buffered: true });"
    )
    page.goto(home[1].url)
    page.wait_for_selector("canvas[data-sequence]")
    page.wait_for_timeout(2500)
    assert page.evaluate("window.jumps") < 0.05


def test_a_lost_connection_is_said_and_found_again(tmp_path: Path, page: Page) -> None:
    with View(tmp_path, tmp_path / "none.sock") as view:
        page.goto(view.url)
        page.get_by_text("edged is not running").wait_for()
        port = view.url.rstrip("/").rpartition(":")[2]
        assert view.stop() == 0
        page.get_by_text("connection lost, trying again").wait_for()
        (tmp_path / "view.log").unlink()
        with View(tmp_path, tmp_path / "none.sock", options=("--listen", f"127.0.0.1:{port}")):
            page.get_by_text("edged is not running").wait_for()


def test_a_token_is_asked_for(tmp_path: Path, page: Page) -> None:
    token = "0123456789abcdef0123"
    with View(tmp_path, tmp_path / "none.sock", config=f'[listen]\nport = 0\ntoken = "{token}"') as view:
        page.goto(view.url)
        page.get_by_label("Token").fill("wrong")
        page.keyboard.press("Enter")
        page.get_by_text("That is not the token.").wait_for()
        page.get_by_label("Token").fill(token)
        page.keyboard.press("Enter")
        page.get_by_text("edged is not running").wait_for()
        page.get_by_role("button", name="Log out").click()
        page.get_by_label("Token").wait_for()
        page.goto(view.url)
        page.get_by_label("Token").wait_for()


def test_where_no_token_is_asked_for_nobody_logs_out(home: tuple[Box, View], page: Page) -> None:
    page.goto(home[1].url)
    page.get_by_text("connected", exact=True).wait_for()
    assert page.get_by_role("button", name="Log out").count() == 0


def test_what_cameras_and_boxes_say_is_text(tmp_path: Path, broker: Broker, page: Page) -> None:
    from paho.mqtt import publish

    config = f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}'
    nasty = "<img src=x onerror='document.title=1'>"
    with View(tmp_path, tmp_path / "none.sock", options=("--fleet",), config=config) as view:
        say: Any = {"hostname": "127.0.0.1", "port": broker.port, "retain": True}
        publish.single("edged/a/info", json.dumps({"version": nasty, "model": nasty}), **say)
        publish.single("edged/a/status", "online", **say)
        page.goto(f"{view.url}#fleet")
        page.locator("tr[data-box=a]", has_text="<img src=x").wait_for()
        assert page.title() == "edged: Fleet"


class _Camera(http.server.BaseHTTPRequestHandler):
    """An MJPEG camera."""

    def do_GET(self) -> None:
        _, jpeg = cv2.imencode(".jpg", squares_picture(colours=("red",)))
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=b")
        self.end_headers()
        while not self.server.killed:  # type: ignore[attr-defined]
            head = f"--b\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
            self.wfile.write(head + jpeg.tobytes() + b"\r\n")
            time.sleep(0.1)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def test_a_camera_that_is_killed_is_offline_within_five_seconds(tmp_path: Path, broker: Broker, page: Page) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Camera)
    server.killed = False  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/v.mjpg"
    camera = {"source": address, "frozen_after_s": 0, "read_timeout_s": 3.0}
    with (
        Box(tmp_path, broker.port, cameras={"gate": camera}, extra=TRACK, device="other") as box,
        View(tmp_path, socket_of(box)) as view,
    ):
        page.goto(view.url)
        page.locator(".pill.online").wait_for(timeout=30_000)
        server.killed = True  # type: ignore[attr-defined]
        server.shutdown()
        server.server_close()
        began = time.monotonic()
        page.locator(".pill.offline").wait_for()
        assert time.monotonic() - began < 5
        assert "127.0.0.1" not in page.locator("body").inner_text(), "no address of a camera is shown"
