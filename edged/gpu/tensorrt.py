"""Which TensorRT is installed and what it can do: the one place that tells its kinds and versions apart.

There are two kinds. TensorRT itself (8.5 to 11) builds an engine for the GPU of the machine. TensorRT for RTX is a
package of its own, whose engines are built without a GPU, for named compute capabilities. A process can use both.
"""

from __future__ import annotations

import functools
import logging
from collections import deque
from dataclasses import dataclass
from importlib import import_module, metadata
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from edged.core.errors import NotInstalled

logger = logging.getLogger(__name__)

TENSORRT, RTX = "tensorrt", "rtx"
KINDS = (TENSORRT, RTX)  # in order of preference: an engine built by timing kernels on the device is faster
TITLES = {TENSORRT: "TensorRT", RTX: "TensorRT for RTX"}
_PACKAGES = {TENSORRT: "tensorrt", RTX: "tensorrt_rtx"}
_REMEDIES = {
    TENSORRT: "install TensorRT for the system's Python (on a Jetson: apt install python3-libnvinfer)",
    RTX: "pip install 'edged[rtx]' (with --force-reinstall after the packages of another CUDA were removed)",
}
# Packages of one kind that hold the same files: with two of them installed, one has overwritten the other.
_RIVALS = {
    TENSORRT: ("tensorrt-cu12-libs", "tensorrt-cu13-libs"),
    RTX: ("tensorrt-rtx-cu12-libs", "tensorrt-rtx-cu13-libs"),
}
_LOG_LINES = 50
_TYPED_SINCE = (10, 12)  # NVIDIA's advice; the flag itself is older
_SINCE_10 = (10,)


@dataclass(frozen=True, slots=True)
class TensorRt:
    """An imported TensorRT.

    Attributes:
        kind: `tensorrt` or `rtx`.
        module: its Python package.
    """

    kind: str
    module: ModuleType

    @property
    def version(self) -> str:
        """The package's full version: an engine runs with exactly this one."""
        return str(self.module.__version__)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The version as numbers, e.g. (10, 3, 0)."""
        return tuple(int(part) for part in self.version.split(".")[:3])

    @property
    def title(self) -> str:
        """Kind and version for people: `TensorRT 10.3.0`."""
        return titled(self.kind, self.version)

    @property
    def typed(self) -> bool:
        """Whether networks are strongly typed: precision comes from the graph. From 10.12 on; 11 knows nothing else."""
        return self.kind == RTX or self.numbers >= _TYPED_SINCE

    @property
    def flags_types(self) -> bool:
        """Whether strong typing is set by a flag, as before 11."""
        return self.kind == TENSORRT and self.numbers < (11,)

    @property
    def python_plugins(self) -> bool:
        """Whether a plugin written in Python can be part of an engine; TensorRT for RTX does not support plugins."""
        return self.kind == TENSORRT and self.numbers >= _SINCE_10 and hasattr(self.module, "IPluginV3")

    @property
    def timing_cache(self) -> bool:
        """Whether a build times kernels on the device and can keep the times; TensorRT for RTX times nothing."""
        return self.kind == TENSORRT

    @property
    def portable(self) -> bool:
        """Whether engines are built without a GPU, for compute capabilities."""
        return self.kind == RTX

    @property
    def shared_profiles(self) -> bool:
        """Whether contexts that exist at the same time may share an optimisation profile."""
        return self.kind == RTX or self.numbers >= _SINCE_10

    @property
    def runtime_config(self) -> bool:
        """Whether kernels are compiled on the device; a runtime configuration says when and holds their cache."""
        return self.kind == RTX

    @property
    def capabilities(self) -> tuple[str, ...]:
        """Compute capabilities that portable engines can be built for, e.g. `8.6`, ascending; else empty."""
        known = getattr(self.module, "ComputeCapability", None)
        numbers = sorted(int(name[2:]) for name in dir(known) if name.startswith("SM") and name[2:].isdigit())
        return tuple(f"{number // 10}.{number % 10}" for number in numbers)


def titled(kind: str, version: str) -> str:
    """Kind and version for people: `TensorRT for RTX 1.7.1.116`."""
    return f"{TITLES.get(kind, kind)} {version}"


def installed() -> tuple[str, ...]:
    """The kinds whose package is there, in order of preference; imports nothing."""
    return tuple(kind for kind in KINDS if _is_there(_PACKAGES[kind]))


def load(kind: str) -> TensorRt:
    """Import a TensorRT.

    Raises:
        NotInstalled: it is not there, lacks its libraries, or two packages of it overwrote each other.
    """
    rivals = [name for name in _RIVALS[kind] if _is_distributed(name)]
    if len(rivals) > 1:
        raise NotInstalled(
            f"{' and '.join(rivals)} are both installed and hold the same files",
            remedy=f"pip uninstall {' '.join(rivals)}, then install the one of your CUDA",
        )
    try:
        return TensorRt(kind, import_module(_PACKAGES[kind]))
    except Exception as exc:
        raise NotInstalled(
            f"{TITLES[kind]}'s Python package cannot be imported: {exc}", remedy=_REMEDIES[kind]
        ) from exc


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # sys.modules holds one without a specification
        return True


def _is_distributed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


@functools.cache
def log_of(tensorrt: TensorRt) -> Any:  # noqa: ANN401 - its class depends on the module
    """The logger of a TensorRT, one per process: TensorRT keeps the first that it gets."""
    trt = tensorrt.module

    class Log(trt.ILogger):  # type: ignore[misc, name-defined] # known at run time only
        """Passes TensorRT's log to `logging`, and keeps the last errors: only they say why a call failed."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.tail: deque[str] = deque(maxlen=_LOG_LINES)

        def log(self, severity: Any, msg: str) -> None:  # noqa: ANN401 - an enum of the module
            """Called by TensorRT from any thread; never raises."""
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self.tail.append(msg)
                logger.debug("TensorRT: %s", msg)  # the error that follows quotes it
            elif severity == trt.ILogger.Severity.WARNING:
                logger.warning("TensorRT: %s", msg)

        def reasons(self) -> str:
            """The last errors, for a message; then forgotten, so that they do not explain a later failure."""
            said = "; ".join(list(self.tail)[-3:])
            self.tail.clear()
            return said or "it gave no reason"

    return Log()
