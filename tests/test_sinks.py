"""Several sinks as one: each hears everything, in order, and one that fails to close keeps none open."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from edged.core.errors import EdgedError
from edged.core.protocols import Sink
from edged.core.states import CameraState, DeviceInfo
from edged.core.watched import Watched
from edged.sinks import Sinks
from tests.fakes import FakeSink
from tests.publish.results import result, statistics

NOW = datetime.now(timezone.utc)


def test_every_sink_hears_everything() -> None:
    first, second = FakeSink("first"), FakeSink("second")
    both: Sink = Sinks([first, second])
    seen, figures = result(3), statistics()
    state, info = CameraState("gate", "online", "", NOW, 0), DeviceInfo("1", "m", "cpu", ("gate",), NOW)
    both.camera_state(state)
    both.watch(Watched(name) for name in ("gate", "yard"))  # an iterator is read once
    both.set_model("other", ["person"])
    both.info(info)
    both.publish(seen)
    both.statistics(figures)
    both.close()
    for each in (first, second):
        assert each.results == [seen]
        assert each.told == [state, (Watched("gate"), Watched("yard")), ("other", ("person",)), info, figures]
        assert each.closed == 1
    assert both.summary == "first connected, second connected"
    assert both.pulses == {**first.pulses, **second.pulses}


def test_a_sink_that_fails_to_close_does_not_keep_the_others_open() -> None:
    class Broken(FakeSink):
        def close(self) -> None:
            raise EdgedError("stuck")

    last = FakeSink()
    with pytest.raises(EdgedError, match="stuck"):
        Sinks([Broken(), last]).close()
    assert last.closed == 1
