"""The child process that builds: TensorRT may crash, hang or be killed here without ending the caller.

Writes JSON lines to standard output: `{"progress": [phase, step, steps]}`, then `{"result": ...}` or `{"error": ...,
"log": [...]}`. Standard error is left to native libraries.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.core.errors import DetectorError, EdgedError
from provisioning.build.log import BuildLog
from provisioning.build.maker import ENGINE, TIMING_CACHE

if TYPE_CHECKING:
    from edged.gpu.cuda import Cuda

_PR_SET_PDEATHSIG = 1
_PREFERRED_VICTIM = "800"  # short of memory, the kernel then ends this process rather than the daemon


def main(arguments: list[str]) -> int:
    """Run `probe KIND DEVICE` or `build JOB` (base64 of JSON). Returns 0 if a result was written, 1 for an error."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # the build ends with the process that asked for it
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_PREFERRED_VICTIM, "ascii")
    try:
        result = probe(*arguments[1:]) if arguments[0] == "probe" else build(json.loads(base64.b64decode(arguments[1])))
    except BuildFailed as exc:
        _say({"error": str(exc), "log": exc.log})
        return 1
    except Exception as exc:  # noqa: BLE001 - whatever a foreign library raises is reported, not lost
        said = str(exc) if isinstance(exc, EdgedError) else f"{type(exc).__name__}: {exc}"
        _say({"error": said, "log": [], "kind": type(exc).__name__})
        return 1
    _say({"result": result})
    return 0


class BuildFailed(EdgedError):
    """TensorRT failed to build. `log` holds its last errors and warnings."""

    def __init__(self, message: str, log: list[str]) -> None:
        super().__init__(message)
        self.log = log


def probe(kind: str, device: str) -> dict[str, Any]:
    """Version and abilities of a TensorRT (`tensorrt` or `rtx`), and the device; the fields of `Machine`.

    A TensorRT with portable engines needs no device: without one, name and capability are empty.

    Raises:
        NotInstalled: a package is missing.
        DetectorError: TensorRT or the device cannot be used.
    """
    from edged.gpu.tensorrt import load  # noqa: PLC0415 - only here TensorRT is imported

    tensorrt = load(kind)
    gpu, capability, no_gpu = _card(device) if tensorrt.portable else (*_opened(device), "")
    return {
        "kind": kind,
        "tensorrt": tensorrt.version,
        "gpu": gpu,
        "compute_capability": capability,
        "typed": tensorrt.typed,
        "python_plugins": tensorrt.python_plugins,
        "portable": tensorrt.portable,
        "capabilities": list(tensorrt.capabilities),
        "no_gpu": no_gpu,
    }


def build(job: Mapping[str, Any]) -> dict[str, int]:
    """Build the engine that `job` (see TensorRtMaker.build) describes; writes ENGINE and TIMING_CACHE into its folder.

    Raises:
        BuildFailed: whatever went wrong, with TensorRT's log.
    """
    from edged.gpu.tensorrt import load  # noqa: PLC0415 - only here TensorRT is imported
    from provisioning.build import tensorrt_build  # noqa: PLC0415 - beside it

    tensorrt, log = load(job["kind"]), BuildLog()
    folder, cache = Path(job["folder"]), Path(job["timing_cache"])
    order = tensorrt_build.Order(
        precision=job["precision"],
        batch=(job["batch"][0], job["batch"][1], job["batch"][2]),
        workspace_bytes=job["workspace_mb"] << 20,
        timing_cache=cache.read_bytes() if cache.is_file() else b"",
        capabilities=tuple(job["capabilities"]),
    )
    uses_plugin = job["decode"] == "plugin"
    try:
        if not tensorrt.portable:
            gpu = _open(job["device"], with_kernels=uses_plugin)
            if uses_plugin:
                _register_plugin(gpu)
        built = tensorrt_build.build(tensorrt, Path(job["model"]).read_bytes(), order, log, _say_progress)
    except Exception as exc:
        raise BuildFailed(str(exc) or type(exc).__name__, log.lines) from exc
    (folder / ENGINE).write_bytes(built.plan)
    (folder / TIMING_CACHE).write_bytes(built.timing_cache)
    return {"plan_bytes": len(built.plan)}


def _opened(device: str) -> tuple[str, str]:
    """Name and compute capability of the chosen GPU. It is opened, because the engine is built on it."""
    gpu = _open(device, with_kernels=False)
    return gpu.name, ".".join(map(str, gpu.compute_capability))


def _card(device: str) -> tuple[str, str, str]:
    """Name, compute capability and an empty text, without opening the GPU; or two empty texts and why there is none."""
    try:
        from edged.gpu.choice import select  # noqa: PLC0415 - needs nvidia-ml-py
        from edged.gpu.nvml import read_gpus  # noqa: PLC0415

        chosen = select(device, need_mb=0, read_gpus=read_gpus)
    except (ImportError, DetectorError) as exc:
        return "", "", str(exc).partition(";")[0]
    return (chosen.name, chosen.compute_capability, "") if chosen is not None else ("", "", "it is a Jetson")


def _open(device: str, *, with_kernels: bool) -> Cuda:
    """Open the chosen GPU and make it current in this thread; load our kernels if the plugin will launch them."""
    from edged.gpu.choice import select  # noqa: PLC0415 - from here on CUDA's packages are needed
    from edged.gpu.cuda import Cuda  # noqa: PLC0415
    from edged.gpu.device import open_gpu  # noqa: PLC0415
    from edged.gpu.nvml import read_gpus  # noqa: PLC0415

    select(device, need_mb=0, read_gpus=read_gpus)
    return open_gpu() if with_kernels else Cuda()


def _register_plugin(gpu: Cuda) -> None:
    from edged.gpu.device import register_plugin  # noqa: PLC0415 - see _open

    register_plugin(gpu)


def _say_progress(phase: str, step: int, steps: int) -> None:
    _say({"progress": [phase, step, steps]})


def _say(event: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
