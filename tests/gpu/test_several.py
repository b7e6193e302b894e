"""One detector over several GPUs, in host memory: nothing lost, nothing out of order, one failure is the whole's."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from edged.core.bundle import MODEL, Bundle
from edged.core.errors import DetectorError
from edged.core.protocols import TunableDetector
from edged.core.types import FrameResult, Thresholds
from edged.gpu.detector import GpuDetector
from edged.gpu.errors import DeviceLost
from edged.gpu.several import SeveralGpus
from edged.health import Health
from edged.pinning import PinsMemory
from edged.pipeline import Pipeline
from tests.fakes import FakePublisher, FakeSupply, make_frame
from tests.gpu.detecting import detect, frame, on_cpu, require_equal, scene
from tests.gpu.host_engine import HostEngine
from tests.gpu.host_gpu import HostDriver, HostGpu
from tests.handmade import write_bundle

LOST = DeviceLost("cuLaunchKernel failed: CUDA_ERROR_ILLEGAL_ADDRESS (700)")
BATCH = 2


class Pair:
    """Two GPUs under one detector, each taking batches of two."""

    def __init__(self, bundle: Bundle, *, deadline_s: float = 10.0) -> None:
        driver = HostDriver()
        self.gpus: list[HostGpu] = []
        self.engines: list[HostEngine] = []
        self.detectors: list[GpuDetector] = []
        for _ in range(2):
            gpu = HostGpu(driver=driver)
            engine = HostEngine(gpu, bundle.read(MODEL), bundle.manifest, max_batch=BATCH)
            self.detectors.append(
                GpuDetector(gpu, engine, bundle.manifest, thresholds=Thresholds(), deadline_s=deadline_s)
            )
            self.gpus.append(gpu)
            self.engines.append(engine)
        self.whole = SeveralGpus({f"{place} T4": detector for place, detector in enumerate(self.detectors)})
        self.forget_calls()

    def forget_calls(self) -> None:
        for gpu in self.gpus:
            gpu.calls.clear()

    def started(self) -> list[int]:
        """Batches that each GPU was given."""
        return [gpu.calls.count("replay") for gpu in self.gpus]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.open(write_bundle(tmp_path_factory.mktemp("bundle") / "squares"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Quick, for tests that look at no boxes."""
    return Bundle.open(write_bundle(tmp_path_factory.mktemp("bundle") / "small", input_wh=(64, 64)))


@pytest.fixture
def pair(small: Bundle) -> Iterator[Pair]:
    made = Pair(small)
    yield made
    made.whole.close()


@pytest.fixture
def seeing(bundle: Bundle) -> Iterator[Pair]:
    """A pair that sees the squares of `scene`."""
    made = Pair(bundle)
    yield made
    made.whole.close()


def drain(detector: TunableDetector, batches: int) -> list[FrameResult]:
    return [result for _ in range(batches) for result in detector.collect()]


def test_several_is_what_the_daemon_takes_for_a_detector(pair: Pair) -> None:
    detector: TunableDetector = pair.whole
    assert isinstance(detector, PinsMemory)


def test_several_finds_what_one_finds_in_the_order_of_the_frames(seeing: Pair, bundle: Bundle) -> None:
    sizes = [(320, 320), (640, 360), (320, 320), (321, 577)]
    frames = [frame(scene(k, size), sequence=k) for k, size in enumerate(sizes)]
    seeing.whole.submit(frames)
    results = drain(seeing.whole, 2)
    assert seeing.started() == [1, 1]
    assert [result.meta for result in results] == [one.meta for one in frames]
    wanted = on_cpu(bundle, frames)
    assert sum(len(one) for one in wanted) >= 4
    require_equal([result.detections for result in results], wanted)


def test_several_room_is_that_of_all(pair: Pair) -> None:
    rooms = []
    for _ in range(4):
        rooms.append(pair.whole.room)
        pair.whole.submit([make_frame()])
    assert (rooms, pair.whole.room) == ([4, 4, 4, 2], 0)
    with pytest.raises(DetectorError, match="submit takes 1 to 0 frames now, got 1"):
        pair.whole.submit([make_frame()])
    pair.whole.collect()
    assert pair.whole.room == BATCH


@pytest.mark.parametrize("count", [0, 5])
def test_several_refuses_a_batch_of_impossible_size(pair: Pair, count: int) -> None:
    with pytest.raises(DetectorError, match=f"submit takes 1 to 4 frames now, got {count}"):
        pair.whole.submit([make_frame()] * count)


def test_several_collect_without_submit_is_an_error(pair: Pair) -> None:
    with pytest.raises(DetectorError, match="nothing is under way"):
        pair.whole.collect()


def test_several_spreads_frames_evenly(pair: Pair) -> None:
    pair.whole.submit([make_frame(sequence=k) for k in range(2)])
    assert [len(pair.whole.collect()), len(pair.whole.collect())] == [1, 1]
    assert pair.started() == [1, 1]


def test_several_gives_frames_to_the_gpu_with_the_least_to_do(pair: Pair) -> None:
    pair.whole.submit([make_frame(sequence=k) for k in range(3)])  # two and one
    pair.forget_calls()
    pair.whole.submit([make_frame(sequence=3)])
    assert pair.started() == [0, 1]
    assert [result.meta.sequence for result in drain(pair.whole, 3)] == [0, 1, 2, 3]
    pair.whole.submit([make_frame(sequence=4)])
    pair.forget_calls()
    pair.whole.submit([make_frame(sequence=k) for k in (5, 6, 7)])  # one is under way here: two there, one here
    assert pair.started() == [1, 1]
    assert [len(pair.whole.collect()) for _ in range(3)] == [1, 2, 1]


@pytest.mark.parametrize("seed", range(6))
def test_several_keeps_the_order_whichever_is_slower(pair: Pair, seed: int) -> None:
    rng = random.Random(seed)
    pair.gpus[seed % 2].polls = 20
    sent, got = 0, list[int]()
    while len(got) < 60:
        room = pair.whole.room
        if room and rng.random() < 0.6:
            count = rng.randint(1, room)
            pair.whole.submit([make_frame(sequence=sent + k) for k in range(count)])
            sent += count
        elif sent > len(got):
            got += [result.meta.sequence for result in pair.whole.collect()]
    assert got == list(range(len(got)))
    assert min(pair.started()) > 5


@pytest.mark.parametrize("slow", [0, 1])
def test_several_behind_the_pipeline_publishes_every_frame_in_order(pair: Pair, slow: int) -> None:
    pair.gpus[slow].polls = 20
    supply, publisher = FakeSupply([make_frame(sequence=k) for k in range(41)]), FakePublisher()
    pipeline = Pipeline(supply=supply, detector=pair.whole, sink=publisher, health=Health())
    pipeline.start()
    pipeline._thread.join(30)
    assert pipeline.failure is None and not pipeline.running
    assert [result.meta.sequence for result in publisher.results] == list(range(41))
    assert (supply.out, supply.released) == ([], 41)
    assert all(gpu.closed for gpu in pair.gpus)


def test_several_thresholds_hold_on_every_gpu(seeing: Pair, bundle: Bundle) -> None:
    frames = [frame(scene(8)), frame(scene(8))]
    for thresholds in (Thresholds(max_detections=1), Thresholds(confidence=0.99), Thresholds()):
        seeing.whole.thresholds = thresholds
        assert seeing.whole.thresholds == thresholds
        seeing.whole.submit(frames)
        require_equal([result.detections for result in drain(seeing.whole, 2)], on_cpu(bundle, frames, thresholds))


def test_several_read_memory_that_is_pinned_once(seeing: Pair, bundle: Bundle) -> None:
    memory = np.stack([scene(k) for k in range(4)])
    frames = [frame(pixels) for pixels in memory]
    assert seeing.whole.pin(memory.ctypes.data, memory.nbytes)
    assert [gpu.calls.count("pin") for gpu in seeing.gpus] == [1, 0]
    seeing.forget_calls()
    seeing.whole.submit(frames)
    require_equal([result.detections for result in drain(seeing.whole, 2)], on_cpu(bundle, frames))
    assert not any("allocate_pinned" in gpu.calls for gpu in seeing.gpus), "frames were copied once more"
    seeing.whole.unpin(memory.ctypes.data)
    assert not seeing.gpus[0].pinned and not seeing.gpus[0]._driver.pinned
    seeing.whole.submit(frames)
    require_equal([result.detections for result in drain(seeing.whole, 2)], on_cpu(bundle, frames))
    assert all("allocate_pinned" in gpu.calls for gpu in seeing.gpus)


@pytest.mark.parametrize(
    ("failure", "kind"), [(LOST, DeviceLost), (DetectorError("cuMemAlloc failed: OUT_OF_MEMORY"), DetectorError)]
)
@pytest.mark.parametrize("broken", [0, 1])
def test_several_gpu_that_fails_at_submit_fails_the_whole(
    pair: Pair, failure: DetectorError, kind: type[DetectorError], broken: int
) -> None:
    pair.whole.submit([make_frame(sequence=k) for k in range(2)])
    pair.gpus[broken].failures["replay"] = failure
    with pytest.raises(kind, match=rf"^{broken} T4: cu") as caught:
        pair.whole.submit([make_frame(sequence=k) for k in (2, 3)])
    assert type(caught.value) is kind and caught.value.exit_code == 70
    for attempt in (pair.whole.collect, lambda: pair.whole.submit([make_frame()])):
        with pytest.raises(DetectorError, match=rf"a GPU has failed before: {broken} T4: cu"):
            attempt()


def test_several_gpu_that_is_lost_is_left_alone_and_the_other_closed(pair: Pair) -> None:
    pair.gpus[0].failures["replay"] = LOST
    with pytest.raises(DeviceLost):
        pair.whole.submit([make_frame()])
    pair.forget_calls()
    pair.whole.close()
    assert pair.gpus[1].closed and pair.engines[1].closed
    assert set(pair.gpus[0].calls) <= {"enter"}


@pytest.mark.parametrize("broken", [0, 1])
def test_several_gpu_that_hangs_is_a_lost_device_not_a_missing_result(small: Bundle, broken: int) -> None:
    pair = Pair(small, deadline_s=0.02)
    pair.whole.submit([make_frame(sequence=k) for k in range(2)])
    pair.gpus[broken].hangs = True
    with pytest.raises(DeviceLost, match=rf"^{broken} T4: inference hangs: no result within 0\.02 s"):
        drain(pair.whole, 2)
    with pytest.raises(DetectorError, match="a GPU has failed before"):
        pair.whole.collect()
    pair.whole.close()
    assert [gpu.closed for gpu in pair.gpus] == [broken == 1, broken == 0]


@pytest.mark.parametrize("broken", [0, 1])
def test_several_close_closes_all_though_one_fails(small: Bundle, monkeypatch: pytest.MonkeyPatch, broken: int) -> None:
    pair = Pair(small)

    def fail() -> None:
        raise RuntimeError("TensorRT is in no mood")

    monkeypatch.setattr(pair.engines[broken], "close", fail)
    pair.whole.submit([make_frame(sequence=k) for k in range(2)])
    with pytest.raises(RuntimeError, match="in no mood"):
        pair.whole.close()
    assert pair.engines[1 - broken].closed and pair.gpus[1 - broken].closed
    pair.whole.close()


def test_several_close_keeps_pinned_memory_until_nobody_reads_it(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[int] = []
    for place, gpu in enumerate(pair.gpus):
        monkeypatch.setattr(gpu, "close", lambda place=place: closed.append(place))
    pair.whole.close()
    assert closed == [1, 0]


def test_several_one_after_the_other_share_no_device(seeing: Pair, bundle: Bundle) -> None:
    """What the guard of these tests is worth: a device refuses while the other is current."""
    one = [frame(scene(1))]
    require_equal(detect(seeing.detectors[0], one), on_cpu(bundle, one))
    with pytest.raises(DetectorError, match="not the current one"):
        seeing.gpus[1].allocate(1)
