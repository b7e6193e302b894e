"""The GPU detector on a `list` model, over the real kernels in host memory: equal to the CPU detector."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edged.core.bundle import MODEL, Bundle
from edged.core.errors import BundleMismatch, DataError
from edged.core.types import Floats, Thresholds
from edged.gpu.bench.measure import stage_us
from edged.gpu.detector import GpuDetector
from tests.gpu.detecting import detect, frame, on_cpu, require_equal
from tests.gpu.host_engine import HostEngine
from tests.gpu.host_gpu import HostGpu
from tests.handmade import CLASSES, draw_square, write_bundle
from tests.handmade_list import fixed_rows_model, write_list_bundle

Made = Callable[..., GpuDetector]


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.open(write_list_bundle(tmp_path_factory.mktemp("bundle")))


@pytest.fixture
def made(gpu: HostGpu) -> Iterator[Made]:
    opened: list[GpuDetector] = []

    def make(bundle: Bundle, *, limits: Thresholds | None = None, half: bool = False, spoil: float = 0) -> GpuDetector:
        engine = HostEngine(gpu, bundle.read(MODEL), bundle.manifest, max_batch=3, half=half)
        engine.spoil = np.array(spoil, np.float32) if spoil else None
        opened.append(GpuDetector(gpu, engine, bundle.manifest, thresholds=limits or Thresholds()))
        return opened[-1]

    yield make
    for detector in opened:
        detector.close()


def scene(seed: int, size_wh: tuple[int, int] = (320, 320)) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Squares of all colours where the hand-made model's windows are; the last one may lie beyond a small frame."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 60, (size_wh[1], size_wh[0], 3), np.uint8)
    for place in rng.permutation(9)[:4].tolist():
        draw_square(image, CLASSES[place % 3], 16 + 96 * (place % 3), 16 + 96 * (place // 3))
    return image


def test_detector_equals_the_cpu_on_frames_of_many_sizes(made: Made, squares: Bundle) -> None:
    detector = made(squares)
    frames = [frame(scene(k, size)) for k, size in enumerate([(320, 320), (640, 360), (321, 577), (64, 48), (1, 1)])]
    got = [found for batch in (frames[:2], frames[2:]) for found in detect(detector, batch)]
    wanted = on_cpu(squares, frames)
    assert len(wanted[0]) == 4
    require_equal(got, wanted)


def test_detector_follows_thresholds_and_classes(made: Made, squares: Bundle) -> None:
    detector, frames = made(squares), [frame(scene(k)) for k in range(3)]
    for limits in (Thresholds(class_ids=frozenset({1})), Thresholds(max_detections=2), Thresholds(confidence=0.9999)):
        detector.thresholds = limits
        require_equal(detect(detector, frames), on_cpu(squares, frames, limits))


def test_detector_runs_one_kernel_behind_the_engine(made: Made, squares: Bundle, gpu: HostGpu) -> None:
    detector = made(squares)
    assert detector.graph_batches == {1, 2, 3}
    kernels = [call for call in gpu.calls if call.split("_")[0] in {"preprocess", "engine", "decode", "nms", "rows"}]
    assert kernels[:3] == ["preprocess_f32", "engine", "rows_pick"] and len(set(kernels)) == 3
    assert "fill_zero" not in gpu.calls[gpu.calls.index("engine") :]


def test_stages_of_a_list_are_timed(made: Made, squares: Bundle) -> None:
    detector = made(squares)
    detect(detector, [frame(scene(0))] * 2)
    times, plain = stage_us(detector, 2, repeats=1)
    assert times["nms"] == 0 and min(times["preprocess"], times["inference"], times["decode"]) > 0 and not plain


def test_detector_with_half_input_reads_rows_in_float(made: Made, squares: Bundle) -> None:
    frames = [frame(scene(4))]
    (got,), (wanted,) = detect(made(squares, half=True), frames), on_cpu(squares, frames)
    assert sorted(got.class_id.tolist()) == sorted(wanted.class_id.tolist())
    assert {tuple(row) for row in got.xyxy.tolist()} == {tuple(row) for row in wanted.xyxy.tolist()}


def rows_bundle(folder: Path, rows: Floats) -> Bundle:
    return Bundle.open(write_list_bundle(folder, fixed_rows_model(rows), input_wh=(64, 64)))


def test_detector_reports_the_best_where_more_pass_than_may_be_reported(made: Made, tmp_path: Path) -> None:
    rows = np.zeros((1500, 6), np.float32)
    rows[:, 2:4], rows[:, 4], rows[:, 5] = 9, np.linspace(0.3, 0.9, 1500), np.arange(1500) % 3
    bundle, limits = rows_bundle(tmp_path, rows), Thresholds(max_detections=400)
    (found,) = detect(made(bundle, limits=limits), [frame(np.zeros((64, 64, 3), np.uint8))])
    assert found.confidence.tolist() == rows[:-401:-1, 4].tolist()
    assert found.class_id.tolist() == [k % 3 for k in range(1499, 1099, -1)]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        pytest.param([0, 0, 9, np.nan, 0.5, 1], "rows holds NaN or infinity", id="nan"),
        pytest.param([0, 0, 9, 9, 3.5, 1], "rows holds scores outside 0..1", id="logits"),
        pytest.param([0, 0, 9, 9, 0.5, 3], "rows holds class ids", id="class"),
    ],
)
def test_detector_refuses_rows_that_break_the_contract(made: Made, tmp_path: Path, row: list[float], said: str) -> None:
    with pytest.raises(DataError, match=said):
        made(rows_bundle(tmp_path, np.array([row], np.float32)))


def test_detector_refuses_an_engine_of_the_other_kind(gpu: HostGpu, squares: Bundle, tmp_path: Path) -> None:
    grid = Bundle.open(write_bundle(tmp_path / "grid"))
    for engine_of, run_as, said in (
        (grid, squares, "outputs are p3, p4, p5; expected rows; build the engine"),
        (squares, grid, "outputs are rows; expected p3, p4, p5 or DecodeNumDetection, "),
    ):
        engine = HostEngine(gpu, engine_of.read(MODEL), engine_of.manifest)
        with pytest.raises(BundleMismatch, match=said):
            GpuDetector(gpu, engine, run_as.manifest, thresholds=Thresholds())


@pytest.mark.parametrize(
    ("shape", "dtype", "said"),
    [
        pytest.param((-1, -1, 6), "float32", r"rows is \[-1, -1, 6\]; expected \(batch, N, 6\), N fixed", id="any"),
        pytest.param((-1, 289, 7), "float32", r"rows is float32 \[-1, 289, 7\]; expected float32", id="values"),
        pytest.param((-1, 289, 6), "float16", r"rows is float16 \[-1, 289, 6\]; expected float32", id="half"),
        pytest.param((-1,), "float32", r"rows is \[-1\]; expected \(batch, N, 6\)", id="rank"),
    ],
)
def test_detector_refuses_rows_of_another_form(
    gpu: HostGpu, squares: Bundle, shape: tuple[int, ...], dtype: str, said: str
) -> None:
    engine = HostEngine(gpu, squares.read(MODEL), squares.manifest)
    engine.tensors["rows"] = type(engine.tensors["rows"])(shape, dtype, is_input=False)
    with pytest.raises(BundleMismatch, match=said):
        GpuDetector(gpu, engine, squares.manifest, thresholds=Thresholds())
