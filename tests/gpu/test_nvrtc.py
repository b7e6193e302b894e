"""The kernels become machine code for every architecture, without a driver."""

from __future__ import annotations

import re

import pytest

from edged.core.errors import DetectorError
from edged.gpu.kernel_cache import HEADERS, MODULES, Module

pytest.importorskip("cuda.bindings.nvrtc", reason="cuda-bindings is not installed")

from edged.gpu.nvrtc import Nvrtc

ARCHITECTURES = [(7, 5), (8, 0), (8, 6), (8, 7), (8, 9), (9, 0), (10, 0), (11, 0), (12, 0)]


@pytest.fixture(scope="module")
def compiler() -> Nvrtc:
    try:
        return Nvrtc()
    except DetectorError as exc:
        pytest.skip(str(exc))


def build(compiler: Nvrtc, module: Module, compute_capability: tuple[int, int]) -> bytes:
    headers = {header.name: header.read_text() for header in HEADERS}
    return compiler.compile(
        module.source.read_text(), name=module.source.name, headers=headers, compute_capability=compute_capability
    )


@pytest.mark.parametrize("compute_capability", ARCHITECTURES, ids=lambda cc: f"sm_{cc[0]}{cc[1]}")
@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.source.stem)
def test_kernels_compile_to_machine_code(compiler: Nvrtc, module: Module, compute_capability: tuple[int, int]) -> None:
    if tuple(map(int, compiler.version.split("."))) < (12, 8) and compute_capability[0] >= 10:
        pytest.skip(f"NVRTC {compiler.version} is older than this architecture")
    code = build(compiler, module, compute_capability)
    assert code.startswith(b"\x7fELF")
    for kernel in module.kernels:
        assert kernel.encode() in code


def test_compile_for_a_gpu_newer_than_the_compiler_gives_ptx(compiler: Nvrtc) -> None:
    code = build(compiler, MODULES[0], (99, 9))
    assert b".target sm_" in code and b"preprocess_f32" in code


def test_compile_for_a_gpu_that_the_compiler_dropped_names_both(compiler: Nvrtc) -> None:
    with pytest.raises(DetectorError, match=r"sm_75 and up, this GPU is sm_20|sm_50 and up, this GPU is sm_20"):
        build(compiler, MODULES[0], (2, 0))


def test_compile_error_has_the_compilers_words(compiler: Nvrtc) -> None:
    with pytest.raises(DetectorError, match=r"broken\.cu does not compile for sm_87(.|\n)*nonsense"):
        compiler.compile("nonsense;", name="broken.cu", headers={}, compute_capability=(8, 7))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.source.stem)
def test_kernels_have_no_fused_multiply_add(compiler: Nvrtc, module: Module) -> None:
    """One would round once where the CPU rounds twice; PTX shows what the optimiser made of the source."""
    assert b"fma." not in build(compiler, module, (99, 9))


@pytest.mark.parametrize("kernel", ["decode_scores_f32", "decode_scores_f16"])
def test_decode_reads_eight_classes_without_waiting_for_one(compiler: Nvrtc, kernel: str) -> None:
    decode = next(module for module in MODULES if kernel in module.kernels)
    assert independent_loads(build(compiler, decode, (99, 9)).decode(), kernel) >= 8


def independent_loads(ptx: str, kernel: str) -> int:
    """The most global loads between two branches or labels whose addresses do not come from one another.

    PTX may write each down just before its use; the assembler then issues them together.
    """
    body = ptx.split(f".entry {kernel}(")[1].split(".entry ", maxsplit=1)[0]
    most, loads, loaded = 0, 0, set[str]()
    for line in body.splitlines():
        if line.startswith("$") or re.search(r"\bbra\b", line):
            loads, loaded = 0, set()
        result, *sources = re.findall(r"%\w+", line) or [""]
        is_load, waits = "ld.global" in line, bool(loaded.intersection(sources))
        loads += is_load and not waits
        loaded |= {result} if is_load or waits else set()
        most = max(most, loads)
    return most
