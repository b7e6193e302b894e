"""Devices by the hundred against one mosquitto on this machine: what a message costs it, who gets which share.

python -m tests.scale --devices 1,50,200 --rate 10 --consumers 2
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.context import SpawnContext
from pathlib import Path

import numpy as np

from edged.bench.meters import tree_cpu_s, tree_memory
from edged.demo.broker import start_broker
from tests.scale.consumer import consume
from tests.scale.fleet import Fleet, drive

FLEETS = 2  # processes that play the devices
TOPIC = "$share/watchers/edged/+/+/detections"  # each message to one of the consumers


@dataclass(frozen=True)
class Point:
    """What one number of devices showed."""

    devices: int
    published: int
    received: tuple[int, ...]
    dropped: int
    seconds: float
    message_bytes: float
    broker_cpu_us: float
    broker_mb: float
    late_ms: tuple[float, float]


def measure(arguments: argparse.Namespace, devices: int) -> Point:
    """One broker, one number of devices."""
    context = multiprocessing.get_context("spawn")
    with ExitStack() as resources:
        folder = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="edged-scale-")))
        broker = resources.enter_context(closing(start_broker(folder)))
        if broker.name != "mosquitto":
            sys.exit("this measures mosquitto: apt-get install mosquitto")
        return _run(context, broker.process.pid, broker.port, arguments, devices)


def _run(context: SpawnContext, broker: int, port: int, arguments: argparse.Namespace, devices: int) -> Point:
    ready, sent, heard = context.Queue(), context.Queue(), context.Queue()
    start, stop, hang_up = context.Event(), context.Event(), context.Event()
    fleets = _fleets(port, arguments, devices)
    processes = [
        context.Process(target=consume, args=(port, TOPIC, ready, hang_up, heard)) for _ in range(arguments.consumers)
    ]
    processes += [context.Process(target=drive, args=(fleet, ready, start, stop, sent)) for fleet in fleets]
    for process in processes:
        process.start()
    there = [ready.get(timeout=120) for _ in processes]
    if sum(there) != arguments.consumers + devices:
        sys.exit(f"{sum(there) - arguments.consumers} of {devices} devices reached the broker")
    cpu_s, began_s = tree_cpu_s(broker), time.monotonic()
    start.set()
    time.sleep(arguments.seconds)
    stop.set()
    seconds = time.monotonic() - began_s
    published = [sent.get(timeout=120) for _ in fleets]
    memory, cpu_s = tree_memory(broker), tree_cpu_s(broker) - cpu_s
    hang_up.set()
    consumers = [heard.get(timeout=120) for _ in range(arguments.consumers)]
    for process in processes:
        process.join()
    count = sum(messages for messages, _, _ in consumers)
    late = np.concatenate([np.array(each) for _, _, each in consumers])
    return Point(
        devices=devices,
        published=sum(p for p, _ in published),
        received=tuple(messages for messages, _, _ in consumers),
        dropped=sum(d for _, d in published),
        seconds=seconds,
        message_bytes=sum(size for _, size, _ in consumers) / max(count, 1),
        broker_cpu_us=cpu_s / max(count, 1) * 1e6,
        broker_mb=memory.peak_mb,
        late_ms=(float(np.percentile(late, 50)), float(np.percentile(late, 99))) if len(late) else (0.0, 0.0),
    )


def _fleets(port: int, arguments: argparse.Namespace, devices: int) -> list[Fleet]:
    """All devices, dealt out to at most FLEETS processes."""
    edges = [devices * part // FLEETS for part in range(FLEETS + 1)]
    return [
        Fleet(port, first, end - first, arguments.rate, arguments.objects, arguments.qos)
        for first, end in pairwise(edges)
        if end > first
    ]


def _row(point: Point) -> str:
    shares = " ".join(f"{each / max(sum(point.received), 1):.2f}" for each in point.received)
    return (
        f"{point.devices:>7} {point.published / point.seconds:>11.0f} {point.published:>9} {sum(point.received):>9} "
        f"{point.dropped:>7} {point.message_bytes:>7.0f} {point.broker_cpu_us:>12.1f} {point.broker_mb:>9.1f} "
        f"{point.late_ms[0]:>7.1f} {point.late_ms[1]:>7.1f}   {shares}"
    )


def main() -> int:
    """Measure and print; 1 where a message was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", default="1,50,200", help="numbers of devices (default 1,50,200)")
    parser.add_argument("--rate", type=float, default=10.0, help="messages a second and device (default 10)")
    parser.add_argument("--objects", type=int, default=6, help="detections in a message (default 6)")
    parser.add_argument("--consumers", type=int, default=2, help="that share the subscription (default 2)")
    parser.add_argument("--qos", type=int, choices=(0, 1), default=0)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement (default 20)")
    arguments = parser.parse_args()
    print(
        f"{'devices':>7} {'messages/s':>11} {'published':>9} {'received':>9} {'dropped':>7} {'bytes':>7} "
        f"{'broker CPU us':>12} {'broker MB':>9} {'p50 ms':>7} {'p99 ms':>7}   shares of the consumers"
    )
    lost = 0
    for devices in map(int, arguments.devices.split(",")):
        point = measure(arguments, devices)
        lost += point.published - sum(point.received)
        print(_row(point), flush=True)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
