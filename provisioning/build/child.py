"""The child process that builds: TensorRT may crash, hang or be killed for memory here without taking the caller along.

Speaks JSON lines on standard output: `{"progress": [phase, step, steps]}`, then `{"result": ...}` or `{"error": ...,
"log": [...]}`. Standard error is left to native libraries.
"""

from __future__ import annotations

import base64
import contextlib
import json
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.core.errors import EdgedError
from provisioning.build.maker import ENGINE, TIMING_CACHE

if TYPE_CHECKING:
    from provisioning.build.tensorrt_build import Log

_PREFERRED_VICTIM = "800"  # so that the kernel, short of memory, ends this process and not the daemon


def main(arguments: list[str]) -> int:
    """`probe`, or `build` with the job as base64 JSON; 0 when a result was said."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_PREFERRED_VICTIM, "ascii")
    try:
        result = probe() if arguments[0] == "probe" else build(json.loads(base64.b64decode(arguments[1])))
    except BuildFailed as exc:
        _say({"error": str(exc), "log": exc.log})
        return 1
    except Exception as exc:  # noqa: BLE001 - whatever a foreign library raises is reported, not lost
        _say({"error": f"{type(exc).__name__}: {exc}", "log": []})
        return 1
    _say({"result": result})
    return 0


class BuildFailed(EdgedError):
    """A build that TensorRT refused, with the end of its log."""

    def __init__(self, message: str, log: list[str]) -> None:
        super().__init__(message)
        self.log = log


def probe() -> dict[str, Any]:
    """TensorRT's version and abilities, and the device; raises where one of them is missing."""
    from provisioning.build import tensorrt_build  # noqa: PLC0415 - it imports TensorRT

    name, capability = _device()
    return {
        "tensorrt": ".".join(map(str, tensorrt_build.version())),
        "gpu": name,
        "compute_capability": capability,
        "typed": tensorrt_build.is_strongly_typed(),
        "python_plugins": tensorrt_build.has_python_plugins(),
    }


def build(job: Mapping[str, Any]) -> dict[str, int]:
    """Build as told; the files are in the job's folder afterwards."""
    from provisioning.build import tensorrt_build  # noqa: PLC0415 - it imports TensorRT

    _device()
    log = tensorrt_build.Log()
    folder = Path(job["folder"])
    cache = Path(job["timing_cache"])
    order = tensorrt_build.Order(
        precision=job["precision"],
        batch=(job["batch"][0], job["batch"][1], job["batch"][2]),
        workspace_bytes=job["workspace_mb"] << 20,
        timing_cache=cache.read_bytes() if cache.is_file() else b"",
    )
    try:
        if job["decode"] == "plugin":
            _register_plugin(log)
        built = tensorrt_build.build(Path(job["model"]).read_bytes(), order, log, _say_progress)
    except Exception as exc:
        raise BuildFailed(str(exc) or type(exc).__name__, list(log.lines)) from exc
    (folder / ENGINE).write_bytes(built.plan)
    (folder / TIMING_CACHE).write_bytes(built.timing_cache)
    return {"plan_bytes": len(built.plan)}


def _device() -> tuple[str, str]:
    """Name and compute capability of the device, made current for the builder."""
    from edged.gpu.cuda import Cuda  # noqa: PLC0415 - it imports CUDA's bindings

    device = Cuda()
    return device.name, ".".join(map(str, device.compute_capability))


def _register_plugin(log: Log) -> None:
    import_module("plugins.yolo_layer.plugin").register(log)


def _say_progress(phase: str, step: int, steps: int) -> None:
    _say({"progress": [phase, step, steps]})


def _say(event: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
