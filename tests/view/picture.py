"""Makes the picture of the page in the documents: `python -m tests.view.picture docs/page.jpg`.

The rendered street, the model that ships, a real daemon, a real page in a real Chromium.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from edged.demo.film import render_film
from edged.demo.run import AREAS
from tests.boxes import Box
from tests.brokers import Broker, free_port, wait_for
from tests.view.looking import View, socket_of

MODEL = Path(__file__).parents[2] / "edged" / "demo" / "person"
EXTRA = f'[model]\nbundle = "{MODEL}"\n[publish]\nstats_interval_s = 1.0'
BEST_S = 40.0  # so long a moment with many people is waited for
WINDOW = {"width": 1280, "height": 640}


def main() -> None:
    """Take it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "broker").mkdir()
        broker = Broker(folder / "broker", free_port()).start()
        camera = {"source": str(render_film(folder / "street.avi")), "fps": 5.0, "frozen_after_s": 0}
        box = Box(folder, broker.port, {"street": camera}, extra=EXTRA, device="edge-1", areas=AREAS)
        with box, View(folder, socket_of(box)) as view, sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport=WINDOW)  # type: ignore[arg-type]
            page.goto(f"{view.url}#camera/street")
            wait_for(lambda: view.now()["open"], timeout_s=30, what="somebody comes")
            page.get_by_text("frames/s").wait_for()
            _await_many(page)
            page.screenshot(path=sys.argv[1], type="jpeg", quality=80)
            browser.close()
        broker.kill()


def _await_many(page: Page) -> None:
    until_s, wanted = time.monotonic() + BEST_S, 5
    while time.monotonic() < until_s:
        words = page.locator("canvas").get_attribute("aria-label") or ""
        if any(f"{number} person" in words for number in range(wanted, 9)):
            return
        wanted = 4 if time.monotonic() > until_s - BEST_S / 2 else wanted
        page.wait_for_timeout(50)


if __name__ == "__main__":
    main()
