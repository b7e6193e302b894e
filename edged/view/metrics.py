"""What Prometheus reads at `/metrics`; every name and label is in docs/view.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from edged.core.states import ALIVE, CameraStateName
from edged.feed.wire import Message
from edged.publish.counters import CAUSES
from edged.view.hub import Hub
from edged.view.meters import Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_STATES: tuple[CameraStateName, ...] = get_args(CameraStateName)


class Metrics:
    """Makes the text of a scrape.

    Args:
        hub: what is known.
    """

    def __init__(self, hub: Hub) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collector(hub))

    def text(self) -> bytes:
        """The metrics of this moment."""
        return generate_latest(self._registry)


class _Collector(Collector):
    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterable[Metric]:
        """All families; what is not known is left out, for a 0 would be a lie."""
        hub = self._hub
        if not hub.listens:
            return
        yield GaugeMetricFamily("edged_feed_connected", "Whether the daemon is there.", value=hub.connected)
        if hub.connected:
            yield from self._cameras()
        yield _histogram("edged_inference_seconds", "Time of a frame in the model.", hub.meters.inference)
        yield _histogram("edged_latency_seconds", "From the grab of a frame to its result.", hub.meters.latency)
        yield self._said()
        if hub.connected:
            yield from self._there()
        if hub.connected and hub.statistics is not None:
            yield from _of_statistics(hub.statistics)
        if hub.connected and hub.info is not None:
            info = {key: str(hub.info[key]) for key in ("version", "model", "backend", "device")}
            yield InfoMetricFamily("edged_engine", "What runs.", value=info)

    def _cameras(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("edged_camera_up", "Whether frames of it come.", labels=["camera"])
        state = GaugeMetricFamily("edged_camera_state", "1 for the state that it is in.", labels=["camera", "state"])
        decoder = InfoMetricFamily("edged_decoder", "What reads it.", labels=["camera"])
        for each in self._hub.cameras:
            name, known = each["camera"], self._hub.states.get(each["camera"])
            now = str(known["state"]) if known else "opening"
            up.add_metric([name], now in ALIVE)
            for one in _STATES:
                state.add_metric([name, one], now == one)
            if known and known["decoder"]:
                decoder.add_metric([name], {"decoder": str(known["decoder"])})
        yield from (up, state, decoder)

    def _said(self) -> Metric:
        said = CounterMetricFamily("edged_events", "Messages of events.", labels=["camera", "label", "type"])
        for key, number in self._hub.meters.events.items():
            said.add_metric(key, number)
        return said

    def _there(self) -> Iterator[Metric]:
        there = GaugeMetricFamily("edged_events_open", "Events that go on.", labels=["camera", "label"])
        for pair, number in Counter((each["camera"], each["label"]) for each in self._hub.open.values()).items():
            there.add_metric(pair, number)
        crossed = CounterMetricFamily(
            "edged_line_crossings", "Objects that crossed a line.", labels=["camera", "line", "label", "direction"]
        )
        for camera, objects in self._hub.objects.items():
            for line, labels in objects["lines"].items():
                for label, directions in labels.items():
                    for direction, number in directions.items():
                        crossed.add_metric([camera, line, label, direction], number)
        yield from (there, crossed)


def _of_statistics(found: Message) -> Iterator[Metric]:
    captured = CounterMetricFamily("edged_frames_captured", "Frames that came.", labels=["camera"])
    processed = CounterMetricFamily("edged_frames_processed", "Frames that were looked at.", labels=["camera"])
    bad = CounterMetricFamily("edged_frames_bad", "Pictures that came damaged.", labels=["camera"])
    again = CounterMetricFamily("edged_camera_reconnects", "How often it came back after a loss.", labels=["camera"])
    dropped = CounterMetricFamily("edged_frames_dropped", "Frames that gave way.", labels=["camera", "cause"])
    for camera, counts in found["cameras"].items():
        captured.add_metric([camera], counts["captured"])
        processed.add_metric([camera], counts["processed"])
        bad.add_metric([camera], counts["bad_frames"])
        again.add_metric([camera], counts["reconnects"])
        for cause, number in counts["dropped"].items():
            dropped.add_metric([camera, cause], number)
    yield from (captured, processed, dropped, bad, again)
    messages = {**dict.fromkeys(CAUSES, 0), **found["publish"]["dropped"]}
    yield _by_cause("edged_messages_dropped", "Messages over MQTT that were lost.", messages)
    lost = {cause: found["snapshots"][cause] for cause in ("dropped_disk", "failed")}
    yield _by_cause("edged_snapshots_lost", "Snapshots that are not stored.", lost)
    yield GaugeMetricFamily("edged_broker_connected", "Whether the broker is.", value=found["publish"]["connected"])
    yield GaugeMetricFamily(
        "edged_outbox_messages", "Messages that the broker has not confirmed.", value=found["publish"]["waiting"]
    )
    yield GaugeMetricFamily(
        "edged_outbox_oldest_seconds", "Age of the oldest of them.", value=found["publish"]["oldest_s"]
    )
    yield GaugeMetricFamily("edged_uptime_seconds", "Since the daemon's start.", value=found["uptime_s"])
    if found["memory_mb"] is not None:
        yield GaugeMetricFamily("edged_resident_memory_bytes", "Of the daemon.", value=found["memory_mb"] * 2**20)
    if found["temperature_c"] is not None:
        yield GaugeMetricFamily("edged_temperature_celsius", "The hottest part.", value=found["temperature_c"])


def _by_cause(name: str, what: str, counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, what, labels=["cause"])
    for cause, number in counts.items():
        family.add_metric([cause], number)
    return family


def _histogram(name: str, what: str, measured: Histogram) -> Metric:
    return HistogramMetricFamily(name, what, buckets=measured.buckets, sum_value=measured.total)
