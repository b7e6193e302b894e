"""A compiled kernel is used again exactly when nothing that made it has changed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import pytest

from edged.core.errors import DetectorError
from edged.gpu.kernel_cache import MODULES, Module, cache_directory, compiled


class CountingCompiler:
    def __init__(self, version: str = "13.5", options: tuple[str, ...] = ("--fmad=false",)) -> None:
        self.version = version
        self.options = options
        self.compiled: list[tuple[str, tuple[int, int]]] = []

    def compile(
        self, source: str, *, name: str, headers: Mapping[str, str], compute_capability: tuple[int, int]
    ) -> bytes:
        self.compiled.append((name, compute_capability))
        return f"{source}{sorted(headers)}{compute_capability}".encode()


def get(
    compiler: CountingCompiler, directory: Path, *, module: Module = MODULES[0], cc: tuple[int, int] = (8, 7)
) -> bytes:
    return compiled(module, compiler=compiler, compute_capability=cc, directory=directory)


def test_cache_second_start_compiles_nothing(tmp_path: Path) -> None:
    first = CountingCompiler()
    codes = [get(first, tmp_path, module=module) for module in MODULES]
    again = CountingCompiler()
    assert [get(again, tmp_path, module=module) for module in MODULES] == codes
    assert len(first.compiled) == len(MODULES) and not again.compiled


@pytest.mark.parametrize(
    ("compiler", "cc"),
    [
        pytest.param(CountingCompiler(version="13.6"), (8, 7), id="compiler"),
        pytest.param(CountingCompiler(options=()), (8, 7), id="options"),
        pytest.param(CountingCompiler(), (8, 6), id="architecture"),
    ],
)
def test_cache_anything_new_compiles_again(compiler: CountingCompiler, cc: tuple[int, int], tmp_path: Path) -> None:
    get(CountingCompiler(), tmp_path)
    get(compiler, tmp_path, cc=cc)
    assert len(compiler.compiled) == 1


def test_cache_changed_source_compiles_again(tmp_path: Path) -> None:
    source = tmp_path / "kernel.cu"
    compiler = CountingCompiler()
    for text in ("one", "two", "two"):
        source.write_text(text)
        assert get(compiler, tmp_path / "cache", module=Module(source, ())).decode().startswith(text)
    assert len(compiler.compiled) == 2


@pytest.mark.parametrize("damage", [b"", b"short", b"\0" * 200], ids=["empty", "torn", "altered"])
def test_cache_damaged_file_is_compiled_again(damage: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    code = get(CountingCompiler(), tmp_path)
    next(tmp_path.iterdir()).write_bytes(damage)
    compiler = CountingCompiler()
    assert get(compiler, tmp_path) == code
    assert len(compiler.compiled) == 1
    assert "damaged" in caplog.text
    assert get(CountingCompiler(), tmp_path) == code


def test_cache_unwritable_directory_costs_a_warning_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        assert get(CountingCompiler(), tmp_path / "file" / "cache")
    assert "made again at every start" in caplog.text


def test_cache_leaves_no_temporary_files(tmp_path: Path) -> None:
    get(CountingCompiler(), tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".bin"]


def test_cache_failed_compilation_is_not_kept(tmp_path: Path) -> None:
    class Broken(CountingCompiler):
        def compile(self, *_: object, **__: object) -> bytes:
            raise DetectorError("does not compile")

    with pytest.raises(DetectorError, match="does not compile"):
        get(Broken(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_cache_of_a_user_without_a_home_costs_a_warning_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("CACHE_DIRECTORY", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert get(CountingCompiler(), cache_directory())
    assert "made again at every start" in caplog.text


def test_cache_directory_follows_systemd_then_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHE_DIRECTORY", "/var/cache/edged:/other")
    assert cache_directory() == Path("/var/cache/edged/kernels")
    monkeypatch.delenv("CACHE_DIRECTORY")
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/me/cache")
    assert cache_directory() == Path("/home/me/cache/edged/kernels")
