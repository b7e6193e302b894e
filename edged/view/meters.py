"""What is measured from the messages themselves: histograms of frames, counters of events."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence

from edged.feed.wire import Message

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MOST_LABELS = 1000  # sets of labels of one counter; what comes after them is counted as `other`
OTHER = "other"


class Histogram:
    """Counts values by bucket, as Prometheus does.

    Attributes:
        total: sum of the values.
    """

    def __init__(self, bounds: Sequence[float] = BUCKETS_S) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    @property
    def buckets(self) -> list[tuple[str, int]]:
        """Upper bounds with the number of values up to them; the last is `+Inf`."""
        names, found, upto = [*map(str, self._bounds), "+Inf"], [], 0
        for name, count in zip(names, self._counts, strict=True):
            upto += count
            found.append((name, upto))
        return found


class Meters:
    """Filled while frames and events come.

    Attributes:
        inference, latency: seconds of each frame: in the model, and from grab to result.
        events: messages of events by camera, label and type.
    """

    def __init__(self) -> None:
        self.inference, self.latency = Histogram(), Histogram()
        self.events: Counter[tuple[str, str, str]] = Counter()

    def new_session(self) -> None:
        """The daemon was started anew: its counters begin at 0, and so do these."""
        self.__init__()  # type: ignore[misc]

    def expect(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Count from 0 what these cameras may show: what appears with 1 was no increase to whoever looks at rates."""
        for camera, label in pairs:
            for kind in ("start", "update", "end"):
                self._count((camera, label, kind), 0)

    def frame(self, message: Message) -> None:
        """A frame was processed."""
        timings = message["timings"]
        self.inference.add(timings.get("inference", timings["detect"]) / 1000)
        self.latency.add(timings["total"] / 1000)

    def event(self, message: Message) -> None:
        """An event said something."""
        self._count((message["camera"], message["label"], message["type"]), 1)

    def _count(self, key: tuple[str, str, str], number: int) -> None:
        if key not in self.events and len(self.events) >= MOST_LABELS:
            key = OTHER, OTHER, key[2]
        self.events[key] += number
