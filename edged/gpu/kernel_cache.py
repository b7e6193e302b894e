"""A cache of compiled kernels on disk, keyed by source, architecture and compiler."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edged.gpu.kept import cache_folder, keep, kept
from edged.gpu.stages import KERNEL_DIRECTORY, NMS, PREPROCESS, ROWS_SOURCE
from plugins.yolo_layer.kernel import SOURCE as DECODE

HEADERS = (KERNEL_DIRECTORY / "frame_table.cuh", KERNEL_DIRECTORY / "found.cuh")


class Compiler(Protocol):
    """Compiles CUDA C++ for one GPU."""

    @property
    def version(self) -> str:
        """Changes whenever the output may change."""
        ...

    @property
    def options(self) -> tuple[str, ...]:
        """Passed with every source."""
        ...

    def compile(
        self, source: str, *, name: str, headers: Mapping[str, str], compute_capability: tuple[int, int]
    ) -> bytes:
        """Compile a source and return its code.

        Raises:
            DetectorError: it does not compile.
        """
        ...


@dataclass(frozen=True, slots=True)
class Module:
    """A source file and the names of its kernels."""

    source: Path
    kernels: tuple[str, ...]


MODULES = (
    Module(PREPROCESS, ("preprocess_f32", "preprocess_f16", "preprocess_nv12_f32", "preprocess_nv12_f16")),
    Module(DECODE, ("decode_scores_f32", "decode_scores_f16", "decode_write_f32", "decode_write_f16")),
    Module(NMS, ("nms_admit", "nms_rank", "nms_greedy")),
    Module(ROWS_SOURCE, ("rows_pick",)),
)


def cache_directory() -> Path:
    """The folder of compiled kernels."""
    return cache_folder("kernels")


def compiled(module: Module, *, compiler: Compiler, compute_capability: tuple[int, int], directory: Path) -> bytes:
    """The module's code, from `directory` where a valid file is there; else compiled, and stored if possible.

    Raises:
        DetectorError: the source does not compile.
    """
    source, headers = module.source.read_text(), {header.name: header.read_text() for header in HEADERS}
    key = _key(source, headers, compiler, compute_capability)
    path = directory / f"{module.source.stem}-sm{compute_capability[0]}{compute_capability[1]}-{key}.bin"
    code = kept(path)
    if code is None:
        code = compiler.compile(source, name=module.source.name, headers=headers, compute_capability=compute_capability)
        keep(path, code)
    return code


def _key(source: str, headers: Mapping[str, str], compiler: Compiler, compute_capability: tuple[int, int]) -> str:
    inputs = [source, dict(headers), compiler.version, list(compiler.options), list(compute_capability)]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:24]
