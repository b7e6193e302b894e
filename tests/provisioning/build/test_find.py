"""Which of the installed TensorRTs builds: by preference, by what is asked for; those passed over with their reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edged.core.errors import ConfigError, DetectorError, EdgedError, NotInstalled
from provisioning.build import child, find
from provisioning.build.tensorrt_maker import Machine, TensorRtMaker

BUILT_IN = Machine("tensorrt", "10.3.0", "Orin", "8.7", typed=False, python_plugins=True)
PORTABLE = Machine(
    "rtx", "1.7.1.116", "", "", typed=True, python_plugins=False, portable=True, capabilities=("8.6", "8.9")
)
Here = Callable[..., None]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    """Installs TensorRTs: a machine, or the error that its probe raises."""

    def install(**found: Machine | EdgedError) -> None:
        def probe(kind: str, device: str) -> Machine:
            assert device == "auto"
            result = found[kind]
            if isinstance(result, EdgedError):
                raise result
            return result

        monkeypatch.setattr(find, "installed", lambda: tuple(found))
        monkeypatch.setattr(find, "probe", probe)

    return install


def found(*, tensorrt: str = "auto", gpus: tuple[str, ...] = ()) -> TensorRtMaker:
    return find.find_maker(tensorrt=tensorrt, device="auto", decode="auto", gpus=gpus, work=Path())


def test_tensorrt_itself_is_taken_where_both_are_installed(here: Here) -> None:
    here(tensorrt=BUILT_IN, rtx=PORTABLE)
    assert found().title == "TensorRT 10.3.0" and not found().passed_over
    assert found(tensorrt="rtx").title == "TensorRT for RTX 1.7.1.116"


def test_one_that_does_not_work_is_passed_over_with_its_reason(here: Here) -> None:
    here(tensorrt=DetectorError("no driver"), rtx=PORTABLE)
    assert found().title == "TensorRT for RTX 1.7.1.116"
    assert found().passed_over == "no driver"


def test_only_that_for_rtx_builds_for_devices_that_are_not_here(here: Here) -> None:
    here(tensorrt=BUILT_IN, rtx=PORTABLE)
    assert found(gpus=("8.6",)).title == "TensorRT for RTX 1.7.1.116"
    assert found(gpus=("this",)).title == "TensorRT 10.3.0"


def test_where_none_works_every_reason_is_told(here: Here) -> None:
    here(tensorrt=DetectorError("no driver"), rtx=NotInstalled("no libraries"))
    with pytest.raises(DetectorError, match=r"^no driver; no libraries$"):
        found()


def test_where_none_is_installed_it_says_what_to_install(here: Here) -> None:
    here()
    with pytest.raises(NotInstalled, match=r"TensorRT is not installed here; .*python3-libnvinfer.*edged\[rtx\]"):
        found()


@pytest.mark.parametrize(
    ("error", "expected"),
    [(DetectorError("no driver; install it"), ("", "", "no driver")), (ImportError("no NVML"), ("", "", "no NVML"))],
)
def test_a_machine_without_a_card_says_why(
    monkeypatch: pytest.MonkeyPatch, error: Exception, expected: tuple[str, str, str]
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr("edged.gpu.choice.select", fail)
    assert child._card("auto") == child._card("3") == expected


def test_a_device_that_this_machine_does_not_have_is_no_missing_card(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise ConfigError("device 5 is not a GPU of this machine")

    monkeypatch.setattr("edged.gpu.choice.select", fail)
    with pytest.raises(ConfigError):
        child._card("5")
