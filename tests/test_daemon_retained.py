"""What the broker still says of a box whose configuration changed, or which was stopped."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.boxes import Box, write_video
from tests.brokers import Broker, Subscriber, free_port, wait_for

NONEMPTY = '[publish]\nhome_assistant = true\ndetections = "nonempty"'


def about(subscriber: Subscriber, camera: str) -> dict[str, bytes]:
    """What is retained of a camera now, by topic."""
    topics = {each.topic for each in subscriber.messages if f"/{camera}/" in each.topic}
    passing = ("/detections", "/events")
    held = {
        topic: subscriber.last(topic) for topic in topics if not topic.endswith(passing) and "/snapshot/" not in topic
    }
    return {topic: payload for topic, payload in held.items() if payload}


def shown(seen: Subscriber) -> dict[str, int]:
    """How many objects of each label are said to be before the camera `gate`."""
    content = json.loads(seen.last("edged/box/gate/objects") or b'{"labels": {}}')
    return {label: count["all"] for label, count in content["labels"].items()}


def test_retained_of_a_camera_ends_with_it_whether_removed_running_or_down(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    broker = Broker(folder, free_port()).start()
    source: dict[str, object] = {"source": str(write_video(tmp_path / "a.avi"))}
    box = Box(tmp_path, broker.port, cameras=dict.fromkeys(("gate", "yard", "roof"), source), extra=NONEMPTY)
    try:
        with Subscriber(broker.port) as seen, box:
            for camera in box.cameras:
                wait_for(lambda c=camera: len(about(seen, c)) == 4, timeout_s=30, what=camera)  # type: ignore[misc]
            wait_for(lambda: shown(seen) == {"red": 1, "green": 0, "blue": 1}, what="the counts")
            del box.cameras["roof"]
            box.write()
            box.signal(signal.SIGHUP)
            wait_for(lambda: not about(seen, "roof"), what="roof is gone")
            box.signal(signal.SIGKILL)
            box.wait()
            wait_for(lambda: seen.last("edged/box/status") == b"offline", what="the will")
            del box.cameras["yard"]
            box.start()
            wait_for(lambda: not about(seen, "yard"), timeout_s=30, what="yard is gone")
            wait_for(lambda: len(about(seen, "gate")) == 4, timeout_s=30, what="gate is still there")
            assert box.stop() == 0
            wait_for(lambda: seen.last("edged/box/status") == b"offline", what="offline")
            health = json.loads(seen.last("edged/box/gate/health"))
            assert (health["state"], health["reason"]) == ("offline", "edged was stopped")
            assert seen.last("edged/box/gate/status") == b"offline"
            assert "Traceback" not in box.log()
    finally:
        broker.kill()
