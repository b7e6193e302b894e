"""A newly activated model that fails on this device: the device goes back by itself, says so, and refuses it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edged.core.bundle import Bundle
from edged.store.links import digest_of
from edged.store.trials import read_trials, write_trials
from provisioning.store import Store
from tests.boxes import Box, write_video
from tests.brokers import Broker, Subscriber, wait_for
from tests.handmade import write_bundle

TRIAL_S = 4.0


class Rollout:
    """A box that runs the active model of a store: `good`, which proved itself at 10 frames a second."""

    def __init__(self, folder: Path, broker: Broker, *, for_s: float = TRIAL_S) -> None:
        self.folder, self.store = folder, Store(folder / "store")
        self.add("good")
        self.store.activate("good")
        digest = digest_of(self.store.root, "active") or ""
        write_trials(self.store.root, read_trials(self.store.root).accepting(digest, 10.0))
        bundle = json.dumps(str(self.store.root / "active"))
        extra = f"[model]\nbundle = {bundle}\n[probation]\nfor_s = {for_s}\n"
        camera = {"source": str(write_video(folder / "a.avi")), "fps": 10.0}
        self.box = Box(folder, broker.port, cameras={"gate": camera}, extra=extra)

    def add(self, name: str, *, side: int = 320) -> Path:
        """A model that works; returns where its bundle is."""
        made = Bundle.open(write_bundle(self.folder / name, name=name, input_wh=(side, side)))
        return self.store.add(made.manifest, {"model.onnx": made.directory / "model.onnx"}).directory

    def activate(self, name: str, *more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "provisioning", "activate", name, "--store", str(self.store.root), *more]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    @property
    def active(self) -> str:
        return Bundle.open(self.store.root / "active").manifest.name


def runs(subscriber: Subscriber) -> str:
    """The model of the latest detections."""
    payload = subscriber.last("edged/box/gate/detections")
    return str(json.loads(payload)["model"]) if payload else ""


def info(subscriber: Subscriber) -> dict[str, object]:
    payload = subscriber.last("edged/box/info")
    return dict(json.loads(payload)) if payload else {}


def test_a_model_that_works_is_accepted_and_has_its_rate_noted(tmp_path: Path, broker: Broker) -> None:
    rollout = Rollout(tmp_path, broker)
    with Subscriber(broker.port) as subscriber, rollout.box as box:
        wait_for(lambda: runs(subscriber) == "good", timeout_s=30, what="detections")
        rollout.add("better", side=352)
        assert rollout.activate("better").returncode == 0
        box.signal(signal.SIGHUP)
        wait_for(lambda: runs(subscriber) == "better", what="the new model")
        box.wait_log("better proved itself", timeout_s=30)
        assert box.stop() == 0
    digest = digest_of(rollout.store.root, "active")
    trials = read_trials(rollout.store.root)
    assert digest is not None and trials.accepted[digest] == pytest.approx(10, rel=0.3)
    assert (trials.refused, trials.starts, "refused" in info(subscriber)) == ({}, {}, False)


def test_a_model_that_cannot_be_loaded_on_reload_is_refused_and_said(tmp_path: Path, broker: Broker) -> None:
    rollout = Rollout(tmp_path, broker)
    with Subscriber(broker.port) as subscriber, rollout.box as box:
        wait_for(lambda: runs(subscriber) == "good", timeout_s=30, what="detections")
        bundle = rollout.add("broken", side=352)
        assert rollout.activate("broken").returncode == 0
        (bundle / "model.onnx").write_bytes(b"damaged on the way")
        box.signal(signal.SIGHUP)
        box.wait_log("broken failed: ")
        wait_for(lambda: rollout.active == "good", what="the model before")
        seen = len(subscriber.payloads("edged/box/gate/detections"))
        wait_for(lambda: len(subscriber.payloads("edged/box/gate/detections")) > seen + 5, what="frames go on")
        assert runs(subscriber) == "good"
        refused = rollout.activate("broken")
        assert refused.returncode != 0 and "failed on this device" in refused.stderr, "by its digest"
        assert box.stop() == 0


def test_a_model_that_cannot_be_loaded_at_the_start_costs_one_start(tmp_path: Path, broker: Broker) -> None:
    rollout = Rollout(tmp_path, broker)
    bundle = rollout.add("broken", side=352)
    assert rollout.activate("broken").returncode == 0
    (bundle / "model.onnx").write_bytes(b"damaged on the way")
    with Subscriber(broker.port) as subscriber:
        with rollout.box as box:
            assert box.wait() == 70, "a code on which systemd starts it again"
        assert rollout.active == "good"
        with rollout.box as box:
            wait_for(lambda: runs(subscriber) == "good", timeout_s=30, what="detections")
            wait_for(lambda: "refused" in info(subscriber), what="info")
            told = info(subscriber)["refused"]
            assert isinstance(told, dict) and told["model"] == "broken" and "SHA-256" in told["reason"]
            assert box.stop() == 0


def test_a_model_whose_daemon_is_killed_again_and_again_is_refused(tmp_path: Path, broker: Broker) -> None:
    rollout = Rollout(tmp_path, broker, for_s=600.0)
    rollout.add("hanging", side=352)
    assert rollout.activate("hanging").returncode == 0
    for _ in range(3):
        with Subscriber(broker.port) as subscriber, rollout.box as box:
            wait_for(lambda: runs(subscriber) == "hanging", timeout_s=30, what="detections")
            box.signal(signal.SIGKILL)
            box.wait()
    with Subscriber(broker.port) as subscriber, rollout.box as box:
        wait_for(lambda: runs(subscriber) == "good", timeout_s=30, what="detections of the model before")
        box.wait_log("the daemon ended 3 times without being asked to")
        assert box.stop() == 0
    assert rollout.active == "good"
    assert rollout.activate("hanging", "--again").returncode == 0
    assert rollout.active == "hanging"


def test_orderly_ends_are_no_failures(tmp_path: Path, broker: Broker) -> None:
    rollout = Rollout(tmp_path, broker, for_s=600.0)
    rollout.add("better", side=352)
    assert rollout.activate("better").returncode == 0
    for _ in range(4):
        with Subscriber(broker.port) as subscriber, rollout.box as box:
            wait_for(lambda: runs(subscriber) == "better", timeout_s=30, what="detections")
            assert box.stop() == 0
    assert rollout.active == "better"


def test_a_model_that_is_much_slower_is_taken_back_while_the_daemon_runs(tmp_path: Path, broker: Broker) -> None:
    rollout = Rollout(tmp_path, broker)
    with Subscriber(broker.port) as subscriber, rollout.box as box:
        wait_for(lambda: runs(subscriber) == "good", timeout_s=30, what="detections")
        rollout.add("slow", side=6400)
        assert rollout.activate("slow").returncode == 0
        box.signal(signal.SIGHUP)
        wait_for(lambda: runs(subscriber) == "slow", timeout_s=30, what="the slow model")
        box.wait_log("frames/s a camera, 10 with the model before; going back to good", timeout_s=40)
        wait_for(lambda: runs(subscriber) == "good", timeout_s=30, what="the model before")
        wait_for(lambda: "refused" in info(subscriber), what="info")
        assert box.stop() == 0
