"""The stage between detector and sinks: keeps a scene for each camera and tells the sink what happens there."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from queue import SimpleQueue

from edged.analysis.appearance import Appearances
from edged.analysis.crossings import Crossings
from edged.analysis.memory import Departed
from edged.analysis.options import SceneOptions
from edged.analysis.scene import Scene
from edged.analysis.snapshots.camera_roll import CameraRoll
from edged.analysis.snapshots.worker import SnapshotWorker
from edged.core.events import Carried, ObjectCounts
from edged.core.protocols import EventSink
from edged.core.states import CameraState, SnapshotCounters
from edged.core.types import Frame, FrameResult

REST_EVERY_S = 0.2
CLOSE_S = 0.3  # for the pictures that wait


class Analysis:
    """Implements `edged.core.protocols.Stage`: gives detections their events and the sink events and counts.

    `process`, `rest`, `forget`, `set_model` and `close` are called in the pipeline's thread; the other methods may be
    called from any thread and take effect there.

    Args:
        options: of each camera, by name.
        sink: takes events and counts.
        model, classes: name of the bundle, and its class names by id.
        carried: gets what earlier runs left behind, when it is known: counts go on, and objects that are still there
            continue their events.
        snapshots: makes pictures of the objects, and is closed by `close`; None for none.
    """

    def __init__(
        self,
        options: Mapping[str, SceneOptions],
        *,
        sink: EventSink,
        model: str,
        classes: Sequence[str],
        carried: SimpleQueue[Carried] | None = None,
        snapshots: SnapshotWorker | None = None,
    ) -> None:
        self._snapshots = snapshots
        self._arriving = carried or SimpleQueue()
        self._options = dict(options)
        self._sink = sink
        self._model, self._classes = model, tuple(classes)
        self._crossings = Crossings(datetime.now(timezone.utc))
        self._scenes: dict[str, Scene] = {}
        self._said: dict[str, tuple[ObjectCounts, float]] = {}
        self._departed: dict[str, list[Departed]] = {}
        self._orders: deque[Callable[[], None]] = deque()
        self._rested_s = 0.0

    def process(self, frame: Frame, result: FrameResult) -> FrameResult:
        """Follow the objects of a frame; the result names the event of each detection."""
        self._obey()
        scene = self._scene(frame.meta.camera)
        if scene is None:
            return result
        labels = [self._classes[class_id] for class_id in result.detections.class_id.tolist()]
        now_s = time.monotonic()
        events = scene.look(frame, result.detections, labels, model=self._model, now_s=now_s)
        self._say_counts(scene, now_s)
        return replace(result, events=events)

    def rest(self) -> None:
        """Say what became due without a frame; returns at once where that was looked at just now."""
        now_s = time.monotonic()
        if now_s - self._rested_s < REST_EVERY_S:
            return
        self._rested_s = now_s
        self._obey()
        for scene in list(self._scenes.values()):
            scene.rest(now_s, datetime.now(timezone.utc))
            self._say_counts(scene, now_s)

    def forget(self, camera: str) -> None:
        """The camera was removed: its events end."""
        self._obey()
        scene = self._scenes.pop(camera, None)
        self._said.pop(camera, None)
        if scene is not None:
            scene.end_all("reconfigured", time.monotonic(), datetime.now(timezone.utc))

    def set_model(self, model: str, classes: Sequence[str]) -> None:
        """Results from now on come from this bundle; identities stay."""
        self._model, self._classes = model, tuple(classes)

    def close(self) -> None:
        """The pipeline has ended: every event ends."""
        if self._snapshots is not None:
            self._snapshots.close(CLOSE_S)
        self._obey()
        for scene in self._scenes.values():
            scene.end_all("shutdown", time.monotonic(), datetime.now(timezone.utc))
        self._scenes.clear()

    def configure(self, options: Mapping[str, SceneOptions]) -> None:
        """Use these options from the next frame on; what is tracked stays."""
        self._orders.append(lambda: self._configure(dict(options)))

    @property
    def snapshot_counters(self) -> SnapshotCounters:
        """What became of all pictures so far."""
        return SnapshotCounters() if self._snapshots is None else self._snapshots.counters

    def camera_state(self, state: CameraState) -> None:
        """Take the new state of a camera: nobody looks unless it is online."""
        self._orders.append(lambda: self._note(state))

    def _obey(self) -> None:
        while not self._arriving.empty():
            self._carry(self._arriving.get())
        while self._orders:
            self._orders.popleft()()
        while self._snapshots is not None and self._snapshots.done:
            done = self._snapshots.done.popleft()
            any(scene.pictured(done.event, done.facts) for scene in self._scenes.values())

    def _configure(self, options: dict[str, SceneOptions]) -> None:
        self._options = options
        for name, scene in self._scenes.items():
            if name in options:
                scene.configure(options[name])

    def _note(self, state: CameraState) -> None:
        scene = self._scene(state.camera)
        if scene is None:
            return
        if state.state == "online":
            scene.back()
        elif state.state != "opening":
            scene.away(time.monotonic())

    def _carry(self, carried: Carried) -> None:
        self._crossings.carry(carried)
        self._said.clear()
        now_s = time.monotonic()
        for each in carried.events:
            departed = Departed(each.event, each.label, each.box, now_s, each.stationary)
            self._departed.setdefault(each.camera, []).append(departed)
            if each.camera in self._scenes:
                self._remember(self._scenes[each.camera])

    def _scene(self, camera: str) -> Scene | None:
        """The camera's scene, made when it is first needed; None for a camera that is not configured."""
        if camera not in self._options:
            return None
        scene = self._scenes.get(camera)
        if scene is None:
            scene = self._scenes[camera] = Scene(
                camera,
                self._options[camera],
                crossings=self._crossings,
                on_event=self._sink.event,
                looks=Appearances(),
                pictures=None if self._snapshots is None else CameraRoll(self._snapshots),
            )
            self._remember(scene)
        return scene

    def _remember(self, scene: Scene) -> None:
        for departed in self._departed.pop(scene.camera, []):
            scene.memory.add(departed)

    def _say_counts(self, scene: Scene, now_s: float) -> None:
        """Publish the counts where they changed, or were said long ago."""
        said, said_s = self._said.get(scene.camera, (None, 0.0))
        due = said is None or now_s - said_s >= scene.heartbeat_s
        if not (due or scene.changed):
            return
        scene.changed = False
        counts = scene.counts()
        if counts is not None and (due or said is None or replace(counts, as_of=said.as_of) != said):
            self._said[scene.camera] = counts, now_s
            self._sink.objects(counts)
