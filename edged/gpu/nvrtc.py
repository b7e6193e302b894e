"""Compiles CUDA C++ for one architecture with NVRTC; needs no driver and no GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cuda.bindings import nvrtc

from edged.core.errors import DetectorError

OPTIONS = (
    "--std=c++17",
    "--fmad=false",  # a fused multiply-add rounds once where the CPU rounds twice: boxes would differ in the last bit
    "--prec-div=true",
    "--ftz=false",
)


class Nvrtc:
    """Implements `edged.gpu.kernel_cache.Compiler` with the NVRTC library that cuda-python finds.

    Raises:
        DetectorError: there is no NVRTC library.
    """

    def __init__(self) -> None:
        try:
            major, minor = _check("nvrtcVersion", nvrtc.nvrtcVersion())
        except (RuntimeError, OSError) as exc:
            raise DetectorError(
                f"the CUDA run-time compiler cannot be loaded: {exc}",
                remedy="install the CUDA toolkit, or: pip install nvidia-cuda-nvrtc",
            ) from exc
        self.version = f"{major}.{minor}"
        self.options = OPTIONS

    def compile(
        self, source: str, *, name: str, headers: Mapping[str, str], compute_capability: tuple[int, int]
    ) -> bytes:
        """Machine code for a GPU of `compute_capability`; PTX, which the driver compiles further, where NVRTC is older.

        Raises:
            DetectorError: the source does not compile (with the log), or the GPU is too old for this NVRTC.
        """
        target, is_ptx = self._target(compute_capability)
        program = _check(
            "nvrtcCreateProgram",
            nvrtc.nvrtcCreateProgram(
                source.encode(),
                name.encode(),
                len(headers),
                [text.encode() for text in headers.values()],
                [include.encode() for include in headers],
            ),
        )
        try:
            options = [option.encode() for option in (*OPTIONS, f"--gpu-architecture={target}")]
            status = nvrtc.nvrtcCompileProgram(program, len(options), options)[0]
            if int(status):
                raise DetectorError(f"{name} does not compile for {target} with NVRTC {self.version}:\n{_log(program)}")
            return _ptx(program) if is_ptx else _cubin(program)
        finally:
            nvrtc.nvrtcDestroyProgram(program)

    def _target(self, compute_capability: tuple[int, int]) -> tuple[str, bool]:
        """The architecture to compile for, and whether the result is PTX."""
        wanted = compute_capability[0] * 10 + compute_capability[1]
        _, supported = _check("nvrtcGetSupportedArchs", _counted(nvrtc.nvrtcGetSupportedArchs()))
        if wanted in supported:
            return f"sm_{wanted}", False
        older = [architecture for architecture in supported if architecture < wanted]
        if not older:
            raise DetectorError(
                f"NVRTC {self.version} compiles for sm_{min(supported)} and up, this GPU is sm_{wanted}",
                remedy="install the NVRTC and cuda-bindings of an older CUDA that still serves it",
            )
        return f"compute_{max(older)}", True


def _counted(result: tuple[Any, ...]) -> tuple[Any, ...]:
    """The supported architectures as (status, count, list); some bindings leave out the count."""
    status, architectures = result[0], list(result[-1])
    return status, len(architectures), architectures


def _cubin(program: Any) -> bytes:  # noqa: ANN401 - the binding's handle
    content = bytearray(_check("nvrtcGetCUBINSize", nvrtc.nvrtcGetCUBINSize(program)))
    _check("nvrtcGetCUBIN", nvrtc.nvrtcGetCUBIN(program, content))
    return bytes(content)


def _ptx(program: Any) -> bytes:  # noqa: ANN401 - the binding's handle
    content = bytearray(_check("nvrtcGetPTXSize", nvrtc.nvrtcGetPTXSize(program)))
    _check("nvrtcGetPTX", nvrtc.nvrtcGetPTX(program, content))
    return bytes(content)


def _log(program: Any) -> str:  # noqa: ANN401 - the binding's handle
    content = bytearray(_check("nvrtcGetProgramLogSize", nvrtc.nvrtcGetProgramLogSize(program)))
    _check("nvrtcGetProgramLog", nvrtc.nvrtcGetProgramLog(program, content))
    return content.rstrip(b"\0").decode(errors="replace").strip()


def _check(call: str, result: tuple[Any, ...]) -> Any:  # noqa: ANN401 - the binding's own return values
    status, *values = result
    if int(status):
        raise DetectorError(f"{call} failed: {getattr(status, 'name', status)}")
    return values[0] if len(values) == 1 else tuple(values) or None
