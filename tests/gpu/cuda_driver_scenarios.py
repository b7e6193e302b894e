"""Drivers that lack something, played by the stub; each function is run by test_cuda.py in a process of its own."""

from __future__ import annotations

from typing import Any

from edged.core.errors import DetectorError
from tests.gpu.cuda_scenarios import whole_detector
from tests.gpu.stub_driver import Stub, expect, play, started


def uuid_that_the_driver_does_not_tell(stub: Stub) -> None:
    """Some Tegra's: it costs nothing but the name."""
    from edged.gpu.device import describe

    gpu = started()
    for status in (801, 999):  # not supported; unknown, which of a call for work would be a lost device
        stub.fail("cuDeviceGetUuid", status)
        assert gpu.uuid == ""
        assert describe(gpu)["device"] == "Host GPU, SM 8.7, UUID unknown"
    gpu.close()


def older_driver_lacks_nothing_that_the_daemon_calls(stub: Stub) -> None:
    """A driver of CUDA 12.0 knows no newer form of any function."""
    stub.speak_cuda(12000)
    whole_detector(stub, timed=False)  # events of the bench are timed by a newer form


def driver_without_a_function(stub: Stub) -> None:
    """As cuda-bindings 13 find that of JetPack 6, where the only function missing is one of the bench's."""
    import cuda.bindings

    stub.speak_cuda(12060)
    stub.lack("cuEventElapsedTime")
    gpu = started()
    start, end = gpu.make_event(), gpu.make_event()
    bindings = cuda.bindings.__version__
    remedy = "pip install 'cuda-bindings<13', or update" if bindings >= "13" else "update"
    expect(DetectorError, "of CUDA 12.6, lacks cuEventElapsedTime", lambda: gpu.elapsed_ms(start, end))
    expect(DetectorError, f", which cuda-bindings {bindings} calls; {remedy}", lambda: gpu.elapsed_ms(start, end))
    gpu.close()
    assert stub.live == 0


def driver_without_lazy_loading(stub: Stub) -> None:
    stub.speak_cuda(11040)
    stub.lack("cuModuleGetLoadingMode")
    expect(DetectorError, "CUDA 11.4, lacks cu", started)
    expect(DetectorError, " calls; update the driver", started)


def functions_missing_in_the_words_of_every_binding(_stub: Stub) -> None:
    from edged.gpu import driver

    def failing(words: str) -> Any:
        def function() -> None:
            raise RuntimeError(words)

        return driver._guarded(function)

    for words in ('Function "cuNew_v2" not found', "function cuNew_v2 is not found"):  # 12.8 and 13.0; 12.9.10 and 13.4
        expect(DetectorError, "lacks cuNew_v2, which", failing(words))
    expect(RuntimeError, "Failed to dlopen libcuda.so.1", failing("Failed to dlopen libcuda.so.1"))


SCENARIOS = (
    uuid_that_the_driver_does_not_tell,
    driver_without_a_function,
    driver_without_lazy_loading,
    functions_missing_in_the_words_of_every_binding,
    older_driver_lacks_nothing_that_the_daemon_calls,
)

if __name__ == "__main__":
    play(SCENARIOS)
