"""Run by `unshare --net`: a camera behind a network that loses every tenth packet. Prints what came of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time

from edged.capture.cameras import Cameras
from edged.capture.spec import CameraSpec
from tests.capture.support import QUICK, Recorder, mjpeg_server, take_until

SECONDS = 5.0
RULES = """
add table inet loss
add chain inet loss arriving {{ type filter hook input priority 0; }}
add rule inet loss arriving iif lo tcp sport {port} numgen random mod 10 lt 1 drop
add rule inet loss arriving iif lo tcp dport {port} numgen random mod 10 lt 1 drop
"""


def frames_in(cameras: Cameras, seconds: float) -> int:
    """Frames taken within so long."""
    until = time.monotonic() + seconds
    return len(take_until(cameras, lambda: time.monotonic() > until, timeout_s=seconds + 5))


def main() -> None:
    """Frames with and without loss, and how often the camera came back."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    recorder = Recorder()
    with mjpeg_server() as (port, _):
        spec = CameraSpec(name="gate", source=f"http://127.0.0.1:{port}/video", frozen_after_s=0, fps=20)
        with Cameras([spec], on_state=recorder, settings=QUICK) as cameras:
            take_until(cameras, lambda: cameras.counters()["gate"].taken > 5)
            sound = frames_in(cameras, SECONDS)
            subprocess.run(["nft", "-f", "-"], input=RULES.format(port=port), text=True, check=True)
            lossy = frames_in(cameras, SECONDS)
            count = cameras.counters()["gate"]
    shown = {"sound": sound, "lossy": lossy, "reconnects": count.reconnects, "bad": count.bad_frames}
    sys.stdout.write(json.dumps(shown) + "\n")


if __name__ == "__main__":
    main()
