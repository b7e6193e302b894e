"""The real CUDA wrapper on a stub driver; each function is run by test_cuda.py in a process of its own."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import numpy as np

from edged.core.errors import DetectorError
from edged.gpu.errors import DeviceLost
from edged.gpu.kernel_cache import MODULES
from tests.gpu.stub_driver import IMAGE, Stub, expect, in_thread, play, started

if TYPE_CHECKING:
    from edged.gpu.cuda import Cuda


def facts(_stub: Stub) -> None:
    from edged.gpu.cuda import loading_mode
    from edged.gpu.device import describe
    from edged.gpu.driver import driver_cuda_version

    gpu = started()
    assert gpu.name == "Host GPU" and gpu.compute_capability == (8, 7)
    assert gpu.uuid == "GPU-00112233-4455-6677-8899-aabbccddeeff", gpu.uuid
    assert gpu.memory_bytes() == (3 << 30, 4 << 30)
    told = describe(gpu)
    assert told["device"] == f"Host GPU, SM 8.7, {gpu.uuid}" and told["CUDA"] == "13.0", told
    assert told["module loading"] == "lazy" and told["free memory"] == "3072 of 4096 MB", told
    assert loading_mode() == "LAZY" and driver_cuda_version() == "13.0"
    assert os.environ["CUDA_MODULE_LOADING"] == "LAZY"


def eager_loading(_stub: Stub) -> None:
    os.environ["CUDA_MODULE_LOADING"] = "EAGER"
    expect(DetectorError, "loads modules eagerly", started)


def memory_and_streams(stub: Stub) -> None:
    gpu = started()
    stream = gpu.make_stream()
    host, back = gpu.allocate_pinned(1024), gpu.allocate_pinned(1024)
    host[:] = np.arange(1024) % 251
    device = gpu.allocate(1024)
    gpu.upload(device, host.ctypes.data, 1024, stream)
    gpu.fill_zero(device + 512, 512, stream)
    gpu.download(back.ctypes.data, device, 1024, stream)
    start, end = gpu.make_event(), gpu.make_event()
    gpu.record(start, stream)
    gpu.record(end, stream)
    gpu.wait(stream, start)
    assert not gpu.is_reached(end)
    assert gpu.is_reached(end)
    assert gpu.elapsed_ms(start, end) == 1.5
    gpu.synchronize(stream)
    assert (back[:512] == host[:512]).all() and not back[512:].any()
    gpu.free(device)
    gpu.free_pinned(host)
    gpu.close()
    gpu.close()
    assert stub.live == 0 and stub.retained == 0


def pinning_from_another_thread(stub: Stub) -> None:
    gpu = started()
    memory = np.zeros(4096, np.uint8)
    device, stream = gpu.allocate(4096), gpu.make_stream()
    expect(DetectorError, "cuMemcpyHtoDAsync", lambda: gpu.upload(device, memory.ctypes.data, 4096, stream))
    in_thread(lambda: gpu.pin(memory.ctypes.data, 4096))
    gpu.upload(device, memory.ctypes.data, 4096, stream)
    in_thread(lambda: gpu.unpin(memory.ctypes.data))
    assert stub.count("cuMemHostRegister") == stub.count("cuMemHostUnregister") == 1
    in_thread(lambda: expect(DetectorError, "INVALID_CONTEXT", lambda: gpu.allocate(1)))

    def with_context() -> None:
        gpu.enter()
        gpu.free(gpu.allocate(1))

    in_thread(with_context)


def opened_in_a_thread_that_has_ended(_stub: Stub) -> None:
    """As the daemon does: the model is loaded in one thread, and another, often with its number, uses it."""
    opened: list[Cuda] = []
    idents: list[int] = []

    def load() -> None:
        idents.append(threading.get_ident())
        opened.append(started())

    def use() -> None:
        idents.append(threading.get_ident())
        opened[-1].enter()
        opened[-1].free(opened[-1].allocate(1))

    for _ in range(50):
        in_thread(load)
        in_thread(use)
    assert any(one == other for one, other in zip(idents[::2], idents[1::2], strict=True)), "this shows nothing"


def kernels_and_graphs(_stub: Stub) -> None:
    from edged.core.letterbox import Letterbox
    from edged.core.types import Thresholds
    from edged.gpu.layout import Header
    from edged.gpu.stages import preprocess_launch

    gpu = started()
    stream, header = gpu.make_stream(), Header(1, 1)
    block, result = gpu.allocate_pinned(header.nbytes), gpu.allocate_pinned(3 * 32 * 32 * 4)
    pixels, table, out = gpu.allocate(32 * 32 * 3), gpu.allocate(header.nbytes), gpu.allocate(3 * 32 * 32 * 4)
    gpu.fill_zero(pixels, 32 * 32 * 3, stream)
    header.write(block, Thresholds(), [Letterbox.fit((32, 32), (32, 32))], [pixels])
    gpu.upload(table, block.ctypes.data, header.nbytes, stream)
    launch = preprocess_launch(
        frames=table + header.frames, network_input=out, network_wh=(32, 32), batch=1, half=False
    )
    graph = gpu.capture(stream, lambda: gpu.launch(launch, stream))
    gpu.download(result.ctypes.data, out, result.nbytes, stream)
    assert (result == 0xCD).all(), "a capture must not run"
    gpu.replay(graph, stream)
    gpu.download(result.ctypes.data, out, result.nbytes, stream)
    assert not result.any()
    gpu.close()


def failed_capture_leaves_the_stream_usable(stub: Stub) -> None:
    gpu = started()
    stream, device = gpu.make_stream(), gpu.allocate(64)

    def refuse() -> None:
        gpu.fill_zero(device, 64, stream)
        raise DetectorError("TensorRT could not enqueue")

    live = stub.live
    expect(DetectorError, "could not enqueue", lambda: gpu.capture(stream, refuse))
    assert stub.live == live
    expect(KeyError, "unforeseen", lambda: gpu.capture(stream, lambda: dict[str, None]()["unforeseen"]))
    assert stub.live == live
    gpu.fill_zero(device, 64, stream)
    stub.fail("cuGraphInstantiate", 801)
    expect(
        DetectorError, "cuGraphInstantiate failed: CUDA_ERROR_NOT_SUPPORTED", lambda: gpu.capture(stream, lambda: None)
    )
    assert stub.live == live


def failures(stub: Stub) -> None:
    from edged.gpu.cuda import Cuda

    stub.fail("cuInit", 100)
    expect(DetectorError, "cuInit failed: CUDA_ERROR_NO_DEVICE (100); no GPU is visible", Cuda)
    stub.heal()
    expect(DetectorError, "cuDeviceGet failed: CUDA_ERROR_INVALID_DEVICE", lambda: Cuda(2))
    gpu = Cuda()
    expect(DetectorError, "cuModuleLoadData failed: CUDA_ERROR_INVALID_IMAGE", lambda: gpu.load(b"no code", ()))
    expect(DetectorError, "cuModuleGetFunction failed", lambda: gpu.load(IMAGE, ("no_such_kernel",)))
    stub.fail("cuMemAlloc", 2)
    expect(
        DetectorError, "cuMemAlloc failed: CUDA_ERROR_OUT_OF_MEMORY (2); free device memory", lambda: gpu.allocate(1)
    )
    stub.heal()
    event = gpu.make_event()
    stub.fail("cuEventQuery", 700)
    expect(DeviceLost, "CUDA_ERROR_ILLEGAL_ADDRESS", lambda: gpu.is_reached(event))
    stub.fail("cuEventDestroy", 700)
    gpu.close()  # raises nothing, and leaves the rest to the end of the process


def whole_detector(stub: Stub, *, timed: bool = True) -> None:
    """The daemon's detector, real wrapper and real launches, an engine of constant heads; what the bench times."""
    from datetime import datetime, timezone

    from edged.core.manifest import Manifest
    from edged.core.types import Frame, FrameMeta, Thresholds
    from edged.cpu.decode import Decoder
    from edged.gpu.bench import measure
    from edged.gpu.detector import GpuDetector
    from edged.gpu.program import STAGES
    from tests.gpu.constant_engine import ConstantEngine
    from tests.handmade import CLASSES, DECODE

    rng = np.random.default_rng(0)
    heads = [rng.random((24, side, side), np.float32) for side in (8, 4, 2)]
    gpu = started()
    manifest = Manifest(
        name="stub",
        architecture="handmade",
        classes=CLASSES,
        decode=DECODE,
        input_wh=(64, 64),
        licence="Apache-2.0",
        files={},
    )
    engine = ConstantEngine(gpu, manifest, [heads] * 2)
    detector = GpuDetector(gpu, engine, manifest, thresholds=Thresholds(iou=1.0, max_detections=1000))
    assert detector.graph_batches == {1, 2}
    pixels = np.zeros((48, 64, 3), np.uint8)
    frame = Frame(FrameMeta("cam", 0, datetime.now(timezone.utc), 0, (64, 48)), pixels)
    wanted = Decoder(DECODE)(heads, threshold=0.25)
    for batch in (1, 2, 1):
        detector.submit([frame] * batch)
        results = detector.collect()
        assert len(results) == batch
        for result in results:
            assert sorted(result.detections.confidence.tolist()) == sorted(wanted.score.tolist())
    assert stub.count("cuGraphLaunch") == 3
    if timed:
        times, plain = measure.stage_us(detector, 1, repeats=20)
        assert times == dict.fromkeys(STAGES, 1500 / measure.IN_A_ROW) and not plain
        assert stub.count("cuGraphLaunch") == 3 + 2 * len(STAGES)
        assert measure.upload_us(detector, [64, 64], repeats=1) == 1500
    detector.close()
    assert stub.live == 0 and stub.retained == 0


def opened_with_kernels_from_the_cache(stub: Stub) -> None:
    """The second start compiles nothing. NVRTC itself would crash here: it asks a driver for more than a stub has."""
    import tempfile
    from unittest import mock

    from edged.gpu import device
    from edged.gpu.nvrtc import Nvrtc

    with tempfile.TemporaryDirectory() as folder:
        os.environ["CACHE_DIRECTORY"] = folder
        with mock.patch.object(Nvrtc, "compile", return_value=IMAGE):
            device.open_gpu().close()
        with mock.patch.object(Nvrtc, "compile", side_effect=AssertionError("compiled again")):
            device.open_gpu().close()
        assert stub.count("cuModuleLoadData") == 2 * len(MODULES)
        stub.fail("cuModuleLoadData", 209)
        expect(DetectorError, "NO_BINARY_FOR_GPU (209); the kernels were compiled for another GPU", device.open_gpu)
    assert stub.live == 0 and stub.retained == 0


SCENARIOS = (
    facts,
    eager_loading,
    memory_and_streams,
    pinning_from_another_thread,
    opened_in_a_thread_that_has_ended,
    kernels_and_graphs,
    failed_capture_leaves_the_stream_usable,
    failures,
    whole_detector,
    opened_with_kernels_from_the_cache,
)


if __name__ == "__main__":
    play(SCENARIOS)
