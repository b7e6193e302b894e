"""Opening the TensorRT backend: the bundle is judged first, nothing half-open stays behind, reasons are told."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edged.assembly.model import LoadedModel, load_model
from edged.check import parts as check
from edged.config import load_settings
from edged.config.schema import Engine, Model
from edged.core.bundle import MANIFEST, Bundle
from edged.core.errors import BundleMismatch, DataError, DetectorError, EdgedError, NotInstalled
from edged.core.types import Thresholds
from edged.gpu import backend
from tests.gpu.backend_stage import PORTABLE, RECORD, Stage, bundle, stage

__all__ = ["bundle", "stage"]  # fixtures


def test_open_detector_gives_one_that_works(stage: Stage, bundle: Bundle) -> None:
    opened = backend.open_detector(bundle, thresholds=Thresholds())
    assert opened.backend == "tensorrt 10.3.0 fp32, Host GPU"
    assert opened.detector.room == 2
    assert opened.facts == {
        "device": "Host GPU, GPU-00aa",
        "CUDA": "13.0",
        "TensorRT": "TensorRT 10.3.0",
        "engine": "engine.plan, built for TensorRT 10.3.0 on Host GPU, SM 8.7",
        "CUDA graphs for batches of": "1, 2",
    }
    assert stage.asked == [("auto",)]
    opened.detector.close()
    assert stage.gpu.closed and stage.engines[0].closed and not stage.plugin_on
    assert stage.lazy == [True]


def test_open_detector_loads_eagerly_only_where_asked(stage: Stage, bundle: Bundle) -> None:
    backend.open_detector(bundle, thresholds=Thresholds(), lazy=False).detector.close()
    assert stage.lazy == [False]


def test_open_detector_registers_the_plugin_where_the_engine_holds_it(stage: Stage, bundle: Bundle) -> None:
    record = replace(RECORD, decode="plugin", plugin_version="1")
    whole = Bundle(bundle.directory, replace(bundle.manifest, engines=(record,)))
    backend.open_detector(whole, thresholds=Thresholds()).detector.close()
    assert stage.plugin_on == [stage.gpu]


def test_check_prints_what_the_detector_runs_on(
    stage: Stage, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "edged.toml"
    config.write_text(
        f'[model]\nbundle = "{bundle.directory}"\n[mqtt]\nhost = "localhost"\n'
        '[[camera]]\nname = "gate"\nsource = "test:"\n'
    )
    opened = backend.open_detector(bundle, thresholds=Thresholds())
    loaded = LoadedModel(opened.detector, bundle, opened.backend, opened.facts)
    monkeypatch.setattr(check, "load_model", lambda *_: loaded)
    told = check._model(load_settings(config))
    assert "tensorrt 10.3.0 fp32, Host GPU; device Host GPU, GPU-00aa; CUDA 13.0; TensorRT TensorRT 10.3.0" in told
    assert "engine engine.plan, built for TensorRT 10.3.0 on Host GPU" in told
    assert stage.gpu.closed


def test_open_detector_on_another_machine_closes_the_device(stage: Stage, bundle: Bundle) -> None:
    stage.gpu.compute_capability = (8, 6)
    with pytest.raises(
        BundleMismatch, match=r"built for .* SM 8\.7; running on .* SM 8\.6; run: edged-provision build"
    ):
        backend.open_detector(bundle, thresholds=Thresholds())
    assert stage.gpu.closed and not stage.engines


def test_open_detector_with_a_damaged_engine_closes_the_device(stage: Stage, bundle: Bundle) -> None:
    (bundle.directory / RECORD.file).write_bytes(b"altered")
    with pytest.raises(DataError, match="damaged or was altered"):
        backend.open_detector(bundle, thresholds=Thresholds())
    assert stage.gpu.closed and not stage.engines


def test_open_detector_that_runs_out_of_memory_closes_engine_and_device(stage: Stage, bundle: Bundle) -> None:
    stage.gpu.failures["allocate"] = DetectorError("cuMemAlloc failed: CUDA_ERROR_OUT_OF_MEMORY (2)")
    with pytest.raises(DetectorError, match="OUT_OF_MEMORY"):
        backend.open_detector(bundle, thresholds=Thresholds())
    assert stage.engines[0].closed and stage.gpu.closed


def test_open_detector_on_another_gpu_than_chosen_is_an_error(stage: Stage, bundle: Bundle) -> None:
    stage.gpu.uuid = "GPU-ffff"
    with pytest.raises(DetectorError, match="not on the chosen GPU-00aa: it was started before the choice"):
        backend.open_detector(bundle, thresholds=Thresholds())
    assert stage.gpu.closed


def test_open_detector_on_a_gpu_that_does_not_tell_its_uuid_goes_on(stage: Stage, bundle: Bundle) -> None:
    stage.gpu.uuid = ""
    backend.open_detector(bundle, thresholds=Thresholds()).detector.close()


def test_open_detector_judges_the_bundle_before_it_looks_for_a_gpu(bundle: Bundle) -> None:
    bare = Bundle(bundle.directory, replace(bundle.manifest, engines=()))
    with pytest.raises(BundleMismatch, match="no engine at all; run: edged-provision build"):
        backend.open_detector(bare, thresholds=Thresholds())


def test_open_detector_takes_the_engine_whose_tensorrt_is_here(stage: Stage, bundle: Bundle) -> None:
    stage.versions = {"rtx": "1.7.1.116"}
    both = Bundle(bundle.directory, replace(bundle.manifest, engines=(RECORD, PORTABLE)))
    opened = backend.open_detector(both, thresholds=Thresholds())
    assert opened.backend == "tensorrt-rtx 1.7.1.116 fp32, Host GPU"
    assert opened.facts["engine"] == "engine.plan, built for TensorRT for RTX 1.7.1.116, SM 8.6, 8.7"
    assert stage.caches[0] is not None and stage.engines[0].kept
    opened.detector.close()
    stage.versions["tensorrt"] = "10.3.0"
    opened = backend.open_detector(both, thresholds=Thresholds())
    assert opened.backend == "tensorrt 10.3.0 fp32, Host GPU" and stage.caches[1] is None
    opened.detector.close()


@pytest.mark.parametrize(
    ("versions", "words"),
    [
        ({"rtx": "1.8.0.2"}, "built for TensorRT for RTX 1.7.1.116, SM 8.6, 8.7; running on TensorRT for RTX 1.8.0.2"),
        ({"tensorrt": "10.3.0"}, "rtx is not installed"),
        ({}, "rtx is not installed"),
    ],
)
def test_open_detector_with_an_engine_of_another_release_is_refused(
    stage: Stage, bundle: Bundle, versions: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.versions = versions
    monkeypatch.setattr(backend, "installed", lambda: tuple(versions))
    whole = Bundle(bundle.directory, replace(bundle.manifest, engines=(PORTABLE,)))
    with pytest.raises(EdgedError) as caught:
        backend.open_detector(whole, thresholds=Thresholds())
    assert words in str(caught.value) and caught.value.exit_code == 78
    assert ("TensorRT is here: run: edged-provision build" in str(caught.value)) == ("tensorrt" in versions)


def test_auto_runs_on_the_cpu_where_no_engine_fits_and_says_why(
    stage: Stage, bundle: Bundle, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.versions = {}
    monkeypatch.setattr(backend, "installed", tuple)
    (bundle.directory / MANIFEST).write_text(bundle.manifest.to_json())
    model = Model(bundle=bundle.directory)
    loaded = load_model(model, Engine())
    loaded.detector.close()
    assert loaded.backend.startswith("cpu")
    assert loaded.facts["not on the GPU"] == "tensorrt is not installed"
    assert "running on the CPU: tensorrt is not installed" in caplog.text
    with pytest.raises(NotInstalled):
        load_model(model, Engine(backend="tensorrt"))


def test_gpu_folder_imports_neither_cuda_nor_tensorrt_before_it_must() -> None:
    """Every module that a machine without a GPU may import, in a fresh process."""
    code = """
import sys
import edged.gpu.backend, edged.gpu.detector, edged.gpu.choice, edged.gpu.fit, edged.gpu.kernel_cache, edged.gpu.slots
import plugins.yolo_layer.contract, plugins.yolo_layer.kernel, plugins.yolo_layer.launch
heavy = {"tensorrt", "cuda", "pynvml", "torch", "cv2", "onnxruntime"} & {name.split(".")[0] for name in sys.modules}
sys.exit(f"imported: {heavy}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
