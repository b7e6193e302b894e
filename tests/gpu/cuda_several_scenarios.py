"""Two devices in one process, on the stub driver; each function is run by test_cuda.py in a process of its own."""

from __future__ import annotations

import sys
import tempfile
import types
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

from edged.core.bundle import MODEL, Bundle
from edged.core.errors import DetectorError
from edged.core.manifest import EngineRecord, FileRecord
from edged.core.protocols import TunableDetector
from edged.core.types import Frame, FrameMeta, FrameResult, Thresholds
from edged.gpu.choice import GpuFacts, select_several
from edged.gpu.detector import GpuDetector
from edged.gpu.kernel_cache import MODULES
from edged.gpu.several import SeveralGpus
from plugins.yolo_layer.launch import Launch
from tests.gpu.fake_tensorrt import FakeWorld, fake_tensorrt
from tests.gpu.picture_engine import MANIFEST, SIDE, PictureEngine
from tests.gpu.stub_driver import IMAGE, Stub, expect, play, started
from tests.handmade import write_bundle

if TYPE_CHECKING:
    from edged.gpu.cuda import Cuda

LIMITS = Thresholds(iou=1.0, max_detections=1000)


def two_detectors_behind_one(stub: Stub) -> None:
    """Both find what one alone finds, in order, in frames that lie in memory pinned once."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 48, SIDE, 3), np.uint8)
    frames = frames_of(pixels)
    alone = GpuDetector(started(), PictureEngine(stub), MANIFEST, thresholds=LIMITS)
    wanted = [result for frame in frames for result in detected(alone, [frame])]
    alone.close()
    assert stub.live == 0 and len({len(result.detections) for result in wanted}) > 3, "the pictures are all alike"

    pair = [GpuDetector(started(ordinal), PictureEngine(stub), MANIFEST, thresholds=LIMITS) for ordinal in (0, 1)]
    whole = SeveralGpus({"first": pair[0], "second": pair[1]})
    before = [stub.launched(device) for device in (0, 1)]
    assert whole.pin(pixels.ctypes.data, pixels.nbytes)
    assert stub.count("cuMemHostRegister") == 1
    taken = stub.count("cuMemHostAlloc")
    whole.submit(frames[:4])
    whole.submit(frames[4:7])
    got = whole.collect() + whole.collect()
    whole.submit(frames[7:8])
    got += [result for _ in range(3) for result in whole.collect()]
    whole.submit(frames[8:])
    got += [result for _ in range(2) for result in whole.collect()]
    require_equal(got, wanted)
    assert stub.count("cuMemHostAlloc") == taken, "frames were copied although they lie in pinned memory"
    kernels = [stub.launched(device) - earlier for device, earlier in zip((0, 1), before, strict=True)]
    assert min(kernels) > 0, kernels
    whole.close()
    assert stub.live == 0 and stub.retained == 0
    assert stub.count("cuMemHostUnregister") == 1


def opened_as_configured(stub: Stub) -> None:
    """All of the backend but TensorRT and the compiler: the choice, CUDA's numbers, the device, the detector."""
    from edged.gpu import backend, device

    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(device, "Nvrtc"),
        mock.patch.object(device, "compiled", return_value=IMAGE),
        mock.patch.object(backend, "TensorRtEngine", side_effect=lambda *_, **__: PictureEngine(stub)),
        mock.patch.object(backend, "load", lambda kind: fake_tensorrt(FakeWorld(kind=kind))),
        mock.patch.object(backend, "_select", choice_by_nvml),
    ):
        opened = backend.open_detector(bundle_with_engine(Path(folder)), thresholds=LIMITS, device=["1", "0"])
    assert opened.backend == "tensorrt 10.3.0 fp32, Host GPU + Host GPU", opened.backend
    assert opened.facts["GPU 1: device"] == f"Host GPU, SM 8.7, {UUIDS[1]}", opened.facts
    assert opened.facts["GPU 2: device"] == f"Host GPU, SM 8.7, {UUIDS[0]}", opened.facts
    assert opened.facts["CUDA"] == "13.0"
    frames = frames_of(np.random.default_rng(1).integers(0, 256, (4, SIDE, SIDE, 3), np.uint8))
    opened.detector.submit(frames)
    results = opened.detector.collect() + opened.detector.collect()
    assert [result.meta for result in results] == [frame.meta for frame in frames]
    opened.detector.close()
    assert stub.live == 0 and stub.retained == 0


def hidden_device_is_not_numbered(_stub: Stub) -> None:
    from edged.gpu.cuda import Cuda

    choice_by_nvml(["1"], 0)
    assert Cuda(0).uuid == UUIDS[1]
    expect(DetectorError, "INVALID_DEVICE (101); CUDA sees fewer GPUs than were chosen", lambda: Cuda(1))


def pinned_memory_is_every_devices(stub: Stub) -> None:
    first, second = started(0), started(1)
    memory = np.arange(4096, dtype=np.uint8)
    first.pin(memory.ctypes.data, memory.nbytes)
    expect(DetectorError, "HOST_MEMORY_ALREADY_REGISTERED", lambda: second.pin(memory.ctypes.data, memory.nbytes))
    for gpu in (first, second):
        gpu.enter()
        device, stream, back = gpu.allocate(4096), gpu.make_stream(), gpu.allocate_pinned(4096)
        gpu.upload(device, memory.ctypes.data, 4096, stream)
        gpu.download(back.ctypes.data, device, 4096, stream)
        assert (back == memory).all()
    first.unpin(memory.ctypes.data)
    expect(DetectorError, "cuMemcpyHtoDAsync", lambda: second.upload(device, memory.ctypes.data, 4096, stream))
    assert stub.count("cuMemHostUnregister") == 1


def device_is_left_whichever_is_current(stub: Stub) -> None:
    first, second = started(0), started(1)
    device, stream = second.allocate(64), second.make_stream()
    first.enter()
    expect(DetectorError, "cuMemsetD32Async failed", lambda: second.fill_zero(device, 64, stream))
    live = stub.live
    second.close()
    assert live - stub.live == 2 + len(MODULES) and stub.retained == 1
    first.enter()
    first.close()
    assert stub.live == 0 and stub.retained == 0


def plugin_runs_on_the_device_of_its_engine(stub: Stub) -> None:
    """TensorRT knows one plugin a process, and enqueues it where the engine's device is current."""
    launch = RegisteredPlugin()
    first, second = started(0), started(1)
    launch.register(first, second)
    for gpu, device in ((first, 0), (second, 1), (first, 0)):
        gpu.enter()
        before = stub.launched(device), stub.launched(1 - device)
        launch(decode(gpu), gpu.make_stream())
        assert (stub.launched(device), stub.launched(1 - device)) == (before[0] + 1, before[1])
    second.enter()
    stream = second.make_stream()
    second.close()
    expect(DetectorError, "runs the decode plugin on a GPU for which it was not", lambda: launch(decode(first), stream))
    first.enter()
    launch(decode(first), first.make_stream())


def plugin_keeps_its_kernels_while_a_model_is_replaced(_stub: Stub) -> None:
    """Two hold one device then; whichever goes, the graphs of the other go on."""
    launch = RegisteredPlugin()
    for stays in (0, 1):
        pair = started(), started()
        launch.register(*pair)
        streams = [gpu.make_stream() for gpu in pair]
        launches = [decode(gpu) for gpu in pair]
        graphs = [
            gpu.capture(stream, partial(launch, what, stream))
            for gpu, stream, what in zip(pair, streams, launches, strict=True)
        ]
        pair[1 - stays].close()
        pair[stays].enter()
        pair[stays].replay(graphs[stays], streams[stays])
        launch(launches[stays], streams[stays])
        pair[stays].close()


class RegisteredPlugin:
    """Stands in for the plugin's module: what TensorRT would call is the launch that was registered last."""

    def __init__(self) -> None:
        module: Any = types.ModuleType("plugins.yolo_layer.plugin")
        module.register = self._take
        sys.modules[module.__name__] = module
        self._launch: Callable[[Launch, int], None] | None = None

    def register(self, *gpus: Cuda) -> None:
        from edged.gpu.device import register_plugin

        for gpu in gpus:
            register_plugin(gpu)

    def _take(self, launch: Callable[[Launch, int], None]) -> None:
        self._launch = launch

    def __call__(self, launch: Launch, stream: int) -> None:
        assert self._launch is not None
        self._launch(launch, stream)


UUIDS = [f"GPU-{device:02x}112233-4455-6677-8899-aabbccddeeff" for device in (0, 1)]


def choice_by_nvml(devices: Sequence[str], need_mb: int) -> tuple[GpuFacts | None, ...]:
    """The real choice, with what NVML would say of the stub's devices."""
    facts = [
        GpuFacts(index, uuid, "Host GPU", "8.7", 1 << 30, partitioned=False, mig=False)
        for index, uuid in enumerate(UUIDS)
    ]
    return select_several(devices, need_mb=need_mb, read_gpus=lambda: facts, root=Path("/nowhere"))


def bundle_with_engine(folder: Path) -> Bundle:
    plain = Bundle.open(write_bundle(folder / "bundle", input_wh=(SIDE, SIDE)))
    content = plain.read(MODEL)
    (plain.directory / "engine.plan").write_bytes(content)
    record = EngineRecord("engine.plan", "10.3.0", "Host GPU", "8.7", "fp32", "kernel", "", (1, 2, 2))
    files = {**plain.manifest.files, record.file: FileRecord(plain.manifest.files[MODEL].sha256, len(content))}
    return Bundle(plain.directory, replace(plain.manifest, files=files, engines=(record,)))


def decode(gpu: Cuda) -> Launch:
    """A kernel of the decode over memory of this device, which must be current."""
    from plugins.yolo_layer.kernel import DecodeOutputs, decode_launches, workspace_bytes
    from tests.plugins.decoding import layer

    sizes = [(8, 8), (4, 4), (2, 2)]
    nbytes = 24 * 64 * 4
    heads = [gpu.allocate(nbytes) for _ in sizes]
    outputs = DecodeOutputs(*(gpu.allocate(nbytes) for _ in range(4)))
    workspace = gpu.allocate(workspace_bytes(layer(), sizes, 1))
    return decode_launches(layer(), sizes, batch=1, heads=heads, outputs=outputs, workspace=workspace)[0]


def frames_of(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> list[Frame]:
    now = datetime.now(timezone.utc)
    size_wh = (pixels.shape[2], pixels.shape[1])
    return [Frame(FrameMeta("cam", k, now, 0, size_wh), one) for k, one in enumerate(pixels)]


def detected(detector: TunableDetector, frames: Sequence[Frame]) -> list[FrameResult]:
    detector.submit(frames)
    return detector.collect()


def require_equal(got: Sequence[FrameResult], wanted: Sequence[FrameResult]) -> None:
    assert [result.meta for result in got] == [result.meta for result in wanted]
    for one, other in zip(got, wanted, strict=True):
        for part in ("xyxy", "confidence", "class_id"):
            np.testing.assert_array_equal(getattr(one.detections, part), getattr(other.detections, part))


SCENARIOS = (
    two_detectors_behind_one,
    opened_as_configured,
    hidden_device_is_not_numbered,
    pinned_memory_is_every_devices,
    device_is_left_whichever_is_current,
    plugin_runs_on_the_device_of_its_engine,
    plugin_keeps_its_kernels_while_a_model_is_replaced,
)

if __name__ == "__main__":
    play(SCENARIOS)
