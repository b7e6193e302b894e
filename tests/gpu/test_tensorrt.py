"""Which TensorRT is here and what it can: told in one place, by kind and version."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest

from edged.core.errors import NotInstalled
from edged.gpu.tensorrt import TensorRt, installed, load
from tests.gpu.fake_tensorrt import FakeWorld, fake_tensorrt


def abilities(made: TensorRt) -> set[str]:
    names = ("typed", "flags_types", "timing_cache", "portable", "shared_profiles", "runtime_config")
    return {name for name in names if getattr(made, name)}


@pytest.mark.parametrize(
    ("kind", "version", "expected"),
    [
        ("tensorrt", "8.5.3.1", {"flags_types", "timing_cache"}),
        ("tensorrt", "10.3.0", {"flags_types", "timing_cache", "shared_profiles"}),
        ("tensorrt", "10.13.3.9", {"typed", "flags_types", "timing_cache", "shared_profiles"}),
        ("tensorrt", "11.4.0.106", {"typed", "timing_cache", "shared_profiles"}),
        ("rtx", "1.7.1.116", {"typed", "portable", "shared_profiles", "runtime_config"}),
    ],
)
def test_abilities_by_kind_and_version(kind: str, version: str, expected: set[str]) -> None:
    made = fake_tensorrt(FakeWorld(kind=kind, version=version))
    assert abilities(made) == expected
    assert made.version == version


def test_capabilities_are_those_that_the_package_names() -> None:
    made = fake_tensorrt(FakeWorld(kind="rtx", version="1.7.1.116"))
    names = {"CURRENT": 1, "NONE": 0, "SM75": 2, "SM120": 3, "SM86": 4}
    made.module.ComputeCapability = type("ComputeCapability", (), names)  # type: ignore[attr-defined]
    assert made.capabilities == ("7.5", "8.6", "12.0")
    assert fake_tensorrt(FakeWorld()).capabilities == ()


@pytest.mark.parametrize(
    ("kind", "package", "remedy"),
    [("tensorrt", "tensorrt", "install TensorRT for the system's Python"), ("rtx", "tensorrt_rtx", "edged[rtx]")],
)
def test_load_of_one_that_is_not_there_says_so(
    kind: str, package: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(NotInstalled) as caught:
        load(kind)
    assert "Python package cannot be imported" in str(caught.value) and remedy in str(caught.value)
    assert caught.value.exit_code == 78


@pytest.mark.parametrize("error", ["OSError", "RuntimeError", "AttributeError"])
def test_load_of_one_that_lacks_its_libraries_says_so(
    error: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever its bindings raise: the daemon runs on the CPU then, and says why."""
    (tmp_path / "tensorrt.py").write_text(f"raise {error}('libnvinfer.so.10: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    assert "tensorrt" in installed()
    with pytest.raises(NotInstalled, match=r"cannot be imported: libnvinfer\.so\.10.*install TensorRT"):
        load("tensorrt")


def test_load_of_one_whose_packages_overwrote_each_other_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """tensorrt-rtx-cu12 and -cu13 put their libraries into one folder, under the same names."""
    there = {"tensorrt-rtx-cu12-libs", "tensorrt-rtx-cu13-libs"}

    def distribution(name: str) -> object:
        if name not in there:
            raise metadata.PackageNotFoundError
        return object()

    monkeypatch.setattr(metadata, "distribution", distribution)
    with pytest.raises(NotInstalled, match="are both installed and hold the same files; pip uninstall"):
        load("rtx")
    there.remove("tensorrt-rtx-cu12-libs")
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", fake_tensorrt(FakeWorld(kind="rtx")).module)
    assert load("rtx").kind == "rtx"
