"""Whatever happens: every start has exactly one end, in order, and when all is over nothing is left open."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from edged.analysis import stage as module
from edged.analysis.options import EventOptions, SceneOptions, TrackOptions, ZoneOptions
from edged.analysis.stage import Analysis
from edged.core.events import Event, ObjectCounts
from edged.core.states import CameraState, CameraStateName
from edged.core.types import Detections, Frame, FrameMeta, FrameResult
from tests.fakes import FakeSink

CLASSES = ("person", "car")
SIZE = (320, 180)
LEFT = ZoneOptions(name="left", points=((0, 0), (0.5, 0), (0.5, 1), (0, 1)), enter_s=0.2, leave_s=0.2)
OPTIONS = SceneOptions(
    track=TrackOptions(lost_s=1.0, confirm_s=0.1, stationary_s=1.0), events=EventOptions(update_min_s=0.3)
)
TIMINGS = {"waiting": 0.0, "detect": 0.0, "total": 0.0}
BEGAN = datetime(2026, 3, 1, tzinfo=timezone.utc)


class Histories(RuleBasedStateMachine):
    """Two cameras, of which anything may be asked at any time; the clock is ours."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0
        self.sink = FakeSink()
        self.options = {"gate": OPTIONS, "yard": OPTIONS}
        self.sequence = 0
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now_s))
        self.analysis = Analysis(self.options, sink=self.sink, model="m", classes=CLASSES)

    def teardown(self) -> None:
        self.analysis.close()
        self.check()
        open_events = {event.event for event in self.events if event.type == "start"} - {
            event.event for event in self.events if event.type == "end"
        }
        self.patch.undo()
        assert not open_events

    @property
    def events(self) -> list[Event]:
        return [each for each in self.sink.told if isinstance(each, Event)]

    @rule(
        camera=st.sampled_from(["gate", "yard", "elsewhere"]),
        objects=st.lists(st.tuples(st.integers(0, 1), st.floats(0.2, 0.8), st.floats(0.3, 0.99)), max_size=4),
        frames=st.integers(1, 15),
        step_s=st.sampled_from([0.1, 0.5, 3.0]),
        late=st.booleans(),
    )
    def look(
        self, *, camera: str, objects: list[tuple[int, float, float]], frames: int, step_s: float, late: bool
    ) -> None:
        for _ in range(frames):
            self.now_s += step_s
            boxes = [[x * 320 - 15, 60, x * 320 + 15, 150] for _, x, _ in objects]
            found = Detections(
                np.array(boxes, np.float32).reshape(-1, 4),
                np.array([score for *_, score in objects], np.float32),
                np.array([number for number, *_ in objects], np.int32),
            )
            captured_s = self.now_s - (5.0 if late else 0.0)
            meta = FrameMeta(
                camera, self.sequence, BEGAN + timedelta(seconds=captured_s), round(captured_s * 1e9), SIZE
            )
            self.sequence += 1
            frame = Frame(meta, np.zeros((180, 320, 3), np.uint8))
            result = self.analysis.process(frame, FrameResult(meta, found, TIMINGS))
            assert not result.events or len(result.events) == len(objects)
            assert {event for event in result.events if event} <= {event.event for event in self.events}

    @rule(seconds=st.floats(0.1, 20.0))
    def rest(self, seconds: float) -> None:
        self.now_s += seconds
        self.analysis.rest()

    @rule(
        camera=st.sampled_from(["gate", "yard", "elsewhere"]),
        state=st.sampled_from(["opening", "online", "frozen", "offline", "ended"]),
    )
    def camera(self, camera: str, state: CameraStateName) -> None:
        self.analysis.camera_state(CameraState(camera, state, "", BEGAN, 0))

    @rule(zone=st.booleans(), cameras=st.sampled_from([("gate", "yard"), ("gate",), ("yard", "elsewhere")]))
    def reload(self, *, zone: bool, cameras: tuple[str, ...]) -> None:
        """Removed cameras are forgotten a little later: other things may come between."""
        other = SceneOptions(track=OPTIONS.track, events=OPTIONS.events, zones=(LEFT,) if zone else ())
        self.analysis.configure(dict.fromkeys(cameras, other))

    @rule(camera=st.sampled_from(["gate", "yard", "elsewhere"]))
    def remove(self, camera: str) -> None:
        self.analysis.forget(camera)

    @rule()
    def swap(self) -> None:
        self.analysis.set_model("other", CLASSES[::-1])

    @invariant()
    def check(self) -> None:
        told: dict[str, list[Event]] = {}
        for event in self.events:
            told.setdefault(event.event, []).append(event)
        for messages in told.values():
            kinds = [event.type for event in messages]
            assert kinds[0] == "start"
            assert kinds.count("start") == 1
            assert "end" not in kinds[:-1], "nothing follows an end"
            assert [event.revision for event in messages] == list(range(len(messages)))
            assert len({(event.camera, event.started_at) for event in messages}) == 1
            last_seen = [event.last_seen_at for event in messages]
            assert last_seen == sorted(last_seen)
            assert all((event.ended_at is not None) == (event.type == "end") for event in messages)

    @invariant()
    def counts_agree(self) -> None:
        counts = {each.camera: each for each in self.sink.told if isinstance(each, ObjectCounts)}
        open_now: dict[str, set[str]] = {}
        for event in self.events:
            here = open_now.setdefault(event.camera, set())
            here.discard(event.event) if event.type == "end" else here.add(event.event)
        for camera, told in counts.items():
            if told.available and camera in self.analysis._said:
                assert sum(count.all for count in told.labels.values()) == len(open_now.get(camera, ()))


Histories.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestHistories = Histories.TestCase
