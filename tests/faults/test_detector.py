"""Rows 27 and 29: an inference that fails or hangs ends the process with 70 and `offline`, to be replaced."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from edged.core.bundle import Bundle
from edged.core.errors import DetectorError
from edged.core.types import Frame, Thresholds
from edged.cpu.detector import CpuDetector
from tests.boxes import Box
from tests.brokers import Broker, Subscriber, wait_for
from tests.fakes import make_frame
from tests.faults.models import ANY, Fault, write_brightening_video, write_faulty_bundle


def box_with(folder: Path, broker: Broker, fault: Fault, *, above: float | None = None) -> Box:
    """A daemon whose model does `fault` two seconds after its first frame, or already while loading."""
    limits = {} if above is None else {"above": above}
    model = write_faulty_bundle(folder / "models" / fault, fault, **limits)
    camera: dict[str, object] = {"source": str(write_brightening_video(folder / "a.avi")), "loop": False}
    return Box(folder, broker.port, cameras={"gate": camera}, extra=f"[model]\nbundle = {json.dumps(str(model))}")


def test_model_fails_on_bright_pictures_only(tmp_path: Path) -> None:
    bundle = Bundle.open(write_faulty_bundle(tmp_path / "fail", "fail"))
    detector = CpuDetector(bundle, thresholds=Thresholds(), threads=1)
    dark = make_frame(size_wh=(320, 320))
    detector.submit([dark])
    assert len(detector.collect()) == 1
    detector.submit([Frame(dark.meta, np.full((320, 320, 3), 255, np.uint8))])
    with pytest.raises(DetectorError, match="inference failed"):
        detector.collect()
    detector.close()


def test_fault_inference_that_fails_ends_with_70_and_offline(tmp_path: Path, broker: Broker) -> None:
    with Subscriber(broker.port) as subscriber, box_with(tmp_path, broker, "fail") as box:
        wait_for(lambda: subscriber.payloads("edged/box/gate/detections"), timeout_s=30, what="detections")
        assert box.wait(timeout_s=30) == 70
        wait_for(lambda: subscriber.last("edged/box/status") == b"offline", what="offline")
        assert "the pipeline failed: inference failed" in box.log()
        assert "Traceback" not in box.log()


def test_fault_inference_that_hangs_ends_with_70_within_ten_seconds(tmp_path: Path, broker: Broker) -> None:
    topic = "edged/box/gate/detections"
    with Subscriber(broker.port) as subscriber, box_with(tmp_path, broker, "hang") as box:
        wait_for(lambda: len(subscriber.payloads(topic)) >= 20, timeout_s=30, what="detections")
        latest, began = len(subscriber.payloads(topic)), time.monotonic()
        while box.process is not None and box.process.poll() is None and time.monotonic() - began < 40:
            if len(subscriber.payloads(topic)) > latest:
                latest, began = len(subscriber.payloads(topic)), time.monotonic()
            time.sleep(0.02)
        took_s = time.monotonic() - began
        assert box.wait(timeout_s=1) == 70
        wait_for(lambda: subscriber.last("edged/box/status") == b"offline", what="offline")
        print(f"hang: ended {took_s:.1f} s after the last result")  # noqa: T201
        assert took_s < 12
        assert "the pipeline hangs: no progress for" in box.log()


def test_fault_sigterm_while_an_inference_hangs_ends_in_time(tmp_path: Path, broker: Broker) -> None:
    with Subscriber(broker.port) as subscriber, box_with(tmp_path, broker, "hang") as box:
        wait_for(lambda: subscriber.payloads("edged/box/gate/detections"), timeout_s=30, what="detections")
        time.sleep(4)  # two seconds of sound pictures are over
        began = time.monotonic()
        assert box.stop() == 0
        assert time.monotonic() - began < 5
        wait_for(lambda: subscriber.last("edged/box/status") == b"offline", what="offline")
        assert "an inference still runs" in box.log()


def test_fault_sigterm_while_a_model_hangs_in_loading_ends_in_time(tmp_path: Path, broker: Broker) -> None:
    with Subscriber(broker.port) as subscriber, box_with(tmp_path, broker, "hang", above=ANY) as box:
        wait_for(lambda: subscriber.last("edged/box/status") == b"online", timeout_s=30, what="online")
        time.sleep(1)
        began = time.monotonic()
        assert box.stop() == 0
        assert time.monotonic() - began < 5
        wait_for(lambda: subscriber.last("edged/box/status") == b"offline", what="offline")


def test_fault_model_that_hangs_in_loading_at_reload_leaves_the_old_one_at_work(tmp_path: Path, broker: Broker) -> None:
    hanging = write_faulty_bundle(tmp_path / "models" / "hang", "hang", above=ANY)
    camera: dict[str, object] = {"source": str(write_brightening_video(tmp_path / "a.avi"))}
    topic = "edged/box/gate/detections"
    with Subscriber(broker.port) as subscriber, Box(tmp_path, broker.port, cameras={"gate": camera}) as box:
        wait_for(lambda: subscriber.payloads(topic), timeout_s=30, what="detections")
        box.extra = f"[model]\nbundle = {json.dumps(str(hanging))}"
        box.write()
        box.signal(signal.SIGHUP)
        time.sleep(2)
        count = len(subscriber.payloads(topic))
        wait_for(lambda: len(subscriber.payloads(topic)) > count + 10, what="the old model goes on")
        began = time.monotonic()
        assert box.stop() == 0
        assert time.monotonic() - began < 5
