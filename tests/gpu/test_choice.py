"""The GPU is chosen by what NVML says, before CUDA starts, and every way in which that fails says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from edged.core.errors import ConfigError, DetectorError
from edged.gpu.choice import GpuFacts, available_bytes, is_jetson, select, select_several

MB = 1 << 20


def gpu(index: int, free_mb: int | None, *, uuid: str = "", partitioned: bool = False, mig: bool = False) -> GpuFacts:
    return GpuFacts(
        index=index,
        uuid=uuid or f"GPU-{index}{index}aa",
        name="T4",
        compute_capability="7.5",
        free_bytes=None if free_mb is None else free_mb * MB,
        partitioned=partitioned,
        mig=mig,
    )


PLAIN = (gpu(0, 1000), gpu(1, 9000), gpu(2, 500))
PARTITIONED = (
    gpu(0, 100, partitioned=True),
    gpu(0, 4000, uuid="MIG-aaaa", mig=True),
    gpu(0, 2000, uuid="MIG-bbbb", mig=True),
    gpu(1, 3000),
)


def choose(
    wanted: str,
    gpus: Sequence[GpuFacts] = PLAIN,
    *,
    need_mb: int = 0,
    environ: dict[str, str] | None = None,
    root: Path,
) -> str:
    """The UUID that CUDA is left with."""
    given = {} if environ is None else environ
    chosen = select(wanted, need_mb=need_mb, read_gpus=lambda: gpus, environ=given, root=root)
    assert chosen is not None and given["CUDA_VISIBLE_DEVICES"] == chosen.uuid
    return chosen.uuid


@pytest.mark.parametrize(
    ("wanted", "gpus", "uuid"),
    [
        pytest.param("auto", PLAIN, "GPU-11aa", id="most-free-memory"),
        pytest.param("2", PLAIN, "GPU-22aa", id="index"),
        pytest.param("GPU-00aa", PLAIN, "GPU-00aa", id="uuid"),
        pytest.param("gpu-0", PLAIN, "GPU-00aa", id="uuid-beginning"),
        pytest.param("auto", PARTITIONED, "MIG-aaaa", id="most-free-instance"),
        pytest.param("MIG-bbbb", PARTITIONED, "MIG-bbbb", id="instance"),
        pytest.param("1", PARTITIONED, "GPU-11aa", id="index-beside-instances"),
        pytest.param("auto", (gpu(0, None),), "GPU-00aa", id="memory-unknown"),
    ],
)
def test_select_finds_the_gpu(wanted: str, gpus: Sequence[GpuFacts], uuid: str, tmp_path: Path) -> None:
    assert choose(wanted, gpus, root=tmp_path) == uuid


@pytest.mark.parametrize(
    ("setting", "wanted", "uuid"),
    [("0,2", "auto", "GPU-00aa"), ("GPU-22", "auto", "GPU-22aa"), ("2, 0", "2", "GPU-22aa")],
)
def test_select_stays_within_what_is_visible_already(setting: str, wanted: str, uuid: str, tmp_path: Path) -> None:
    assert choose(wanted, environ={"CUDA_VISIBLE_DEVICES": setting}, root=tmp_path) == uuid


@pytest.mark.parametrize(
    ("wanted", "gpus", "message"),
    [
        pytest.param("7", PLAIN, r"'7' is not a GPU of this machine; there are: 0 T4", id="index"),
        pytest.param("GPU-ff", PLAIN, "is not a GPU of this machine", id="uuid"),
        pytest.param("GPU-", PLAIN, "fits several GPUs", id="ambiguous"),
        pytest.param("cuda:0", PLAIN, 'expected "auto", an index, or a UUID', id="nonsense"),
        pytest.param("0", PARTITIONED, "cut into MIG instances; name one of them: .*MIG-aaaa", id="partitioned"),
        pytest.param("GPU-00aa", PARTITIONED, "cut into MIG instances", id="partitioned-uuid"),
    ],
)
def test_select_names_what_there_is(wanted: str, gpus: Sequence[GpuFacts], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        choose(wanted, gpus, root=tmp_path)


def choose_several(wanted: Sequence[str], gpus: Sequence[GpuFacts], environ: dict[str, str], root: Path) -> list[str]:
    chosen = select_several(wanted, need_mb=0, read_gpus=lambda: gpus, environ=environ, root=root)
    return [facts.uuid for facts in chosen if facts is not None]


@pytest.mark.parametrize(
    ("wanted", "gpus", "uuids"),
    [
        pytest.param(["0", "2"], PLAIN, ["GPU-00aa", "GPU-22aa"], id="indices"),
        pytest.param(["2", "GPU-00"], PLAIN, ["GPU-22aa", "GPU-00aa"], id="in-the-order-named"),
        pytest.param(["MIG-bbbb", "1"], PARTITIONED, ["MIG-bbbb", "GPU-11aa"], id="instance"),
        pytest.param(["1"], PLAIN, ["GPU-11aa"], id="one"),
    ],
)
def test_select_several_leaves_them_visible_in_the_order_named(
    wanted: list[str], gpus: Sequence[GpuFacts], uuids: list[str], tmp_path: Path
) -> None:
    environ: dict[str, str] = {}
    assert choose_several(wanted, gpus, environ, tmp_path) == uuids
    assert environ["CUDA_VISIBLE_DEVICES"] == ",".join(uuids)  # which is how CUDA numbers them


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        pytest.param(["0", "gpu-00"], "'0' and 'gpu-00' are one GPU, 0 T4 GPU-00aa$", id="index-and-uuid"),
        pytest.param(["1", "01"], "'1' and '01' are one GPU, 1 T4", id="index-twice"),
        pytest.param(["0", "7"], "'7' is not a GPU of this machine; there are: 0 T4", id="unknown"),
    ],
)
def test_select_several_refuses(wanted: list[str], message: str, tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    with pytest.raises(ConfigError, match=message) as caught:
        choose_several(wanted, PLAIN, environ, tmp_path)
    assert caught.value.exit_code == 78 and "\n" not in str(caught.value)
    assert not environ


def test_select_too_little_memory_everywhere(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match=r"no GPU has 9001 MB of free memory \(at most 9000 MB: 0 T4"):
        choose("auto", need_mb=9001, root=tmp_path)


def test_select_no_gpu_at_all(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match="knows no GPU"):
        choose("auto", (), root=tmp_path)


@pytest.mark.parametrize("setting", ["", "-1", "9", "GPU-none"])
def test_select_all_hidden(setting: str, tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match=r"hides every GPU.*unset CUDA_VISIBLE_DEVICES"):
        choose("auto", environ={"CUDA_VISIBLE_DEVICES": setting}, root=tmp_path)


def test_select_only_an_empty_partition(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match="no MIG instance can be used"):
        choose("auto", (gpu(0, 100, partitioned=True),), root=tmp_path)


@pytest.fixture(params=["release", "device-tree"])
def jetson(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The files that tell a Jetson, with 3000 MB to spare."""
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 8000000 kB\nMemAvailable: 3072000 kB\n")
    if request.param == "release":
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc/nv_tegra_release").write_text("# R36")
    else:
        (tmp_path / "proc/device-tree/compatible").write_bytes(b"nvidia,p3768\0nvidia,tegra234\0")
    return tmp_path


def never() -> Sequence[GpuFacts]:
    raise DetectorError("NVML must not be asked")


@pytest.mark.parametrize("wanted", ["auto", "0"])
def test_select_on_a_jetson_takes_its_one_gpu(jetson: Path, wanted: str) -> None:
    environ: dict[str, str] = {}
    assert select(wanted, need_mb=3000, read_gpus=never, environ=environ, root=jetson) is None
    assert not environ


def test_select_on_a_jetson_refuses_another(jetson: Path) -> None:
    with pytest.raises(ConfigError, match="a Jetson has one GPU"):
        select("1", need_mb=0, read_gpus=never, environ={}, root=jetson)


def test_select_several_on_a_jetson_is_refused(jetson: Path) -> None:
    with pytest.raises(ConfigError, match="device '0', '1': a Jetson has one GPU"):
        select_several(["0", "1"], need_mb=0, read_gpus=never, environ={}, root=jetson)


def test_select_on_a_jetson_counts_the_systems_memory(jetson: Path) -> None:
    assert available_bytes(jetson) == 3000 * MB
    with pytest.raises(DetectorError, match=r"3001 MB.*this Jetson"):
        select("auto", need_mb=3001, read_gpus=never, environ={}, root=jetson)


def test_this_machines_root_can_be_read() -> None:
    assert available_bytes() > 0
    assert is_jetson() in {True, False}
