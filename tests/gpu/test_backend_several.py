"""Opening the backend on several GPUs: an engine for each, all or nothing, every reason with its GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edged.assembly.model import load_model
from edged.config.schema import Engine, Model
from edged.core.bundle import Bundle
from edged.core.errors import BundleMismatch, DetectorError
from edged.core.types import Thresholds
from edged.gpu import backend
from edged.gpu.several import SeveralGpus
from tests.fakes import make_frame
from tests.gpu.backend_stage import CHOSEN, RECORD, SECOND, Stage, bundle, stage

__all__ = ["bundle", "stage"]  # fixtures


def both(stage: Stage, bundle: Bundle, **changed: str) -> Bundle:
    """The bundle with an engine for each of two GPUs; `changed` says in what the second engine differs."""
    stage.chosen = (CHOSEN, SECOND)
    stage.second.name = "Other GPU"
    engines = (RECORD, replace(RECORD, **{"gpu": "Other GPU", **changed}))  # type: ignore[arg-type]
    return Bundle(bundle.directory, replace(bundle.manifest, engines=engines))


def test_open_detector_on_several_gpus_takes_the_engine_of_each(stage: Stage, bundle: Bundle) -> None:
    opened = backend.open_detector(both(stage, bundle), thresholds=Thresholds(), device=["0", "1"])
    assert stage.asked == [("0", "1")] and stage.lazy == [True, True]
    assert isinstance(opened.detector, SeveralGpus) and opened.detector.room == 4
    assert opened.backend == "tensorrt 10.3.0 fp32, Host GPU + Other GPU"
    assert opened.facts == {
        "GPU 1: device": "Host GPU, GPU-00aa",
        "GPU 2: device": "Other GPU, GPU-11aa",
        "CUDA": "13.0",
        "TensorRT": "TensorRT 10.3.0",
        "GPU 1: engine": "engine.plan, built for TensorRT 10.3.0 on Host GPU, SM 8.7",
        "GPU 2: engine": "engine.plan, built for TensorRT 10.3.0 on Other GPU, SM 8.7",
        "CUDA graphs for batches of": "1, 2",
    }
    opened.detector.submit([make_frame(), make_frame()])
    assert [gpu.calls.count("replay") for gpu in stage.gpus] == [1, 1]
    opened.detector.close()
    assert all(gpu.closed for gpu in stage.gpus) and all(engine.closed for engine in stage.engines)


def test_open_detector_registers_the_plugin_on_every_gpu(stage: Stage, bundle: Bundle) -> None:
    whole = both(stage, bundle, decode="plugin", plugin_version="1")
    backend.open_detector(whole, thresholds=Thresholds(), device=["0", "1"]).detector.close()
    assert stage.plugin_on == [stage.second]  # the first one's engine does without


def test_open_detector_one_gpu_without_an_engine_refuses_the_whole(stage: Stage, bundle: Bundle) -> None:
    whole = both(stage, bundle, gpu="A third GPU")
    with pytest.raises(BundleMismatch, match=r"^1 Host GPU GPU-11aa: .*; running on .* Other GPU, SM 8\.7; run: edged"):
        backend.open_detector(whole, thresholds=Thresholds(), device=["0", "1"])
    assert all(gpu.closed for gpu in stage.gpus) and stage.engines[0].closed


def test_open_detector_one_gpu_without_memory_refuses_the_whole(stage: Stage, bundle: Bundle) -> None:
    stage.second.failures["allocate"] = DetectorError("cuMemAlloc failed: CUDA_ERROR_OUT_OF_MEMORY (2)")
    with pytest.raises(DetectorError, match=r"^1 Host GPU GPU-11aa: cuMemAlloc failed"):
        backend.open_detector(both(stage, bundle), thresholds=Thresholds(), device=["0", "1"])
    assert all(gpu.closed for gpu in stage.gpus) and all(engine.closed for engine in stage.engines)


def test_configured_gpus_are_those_that_are_opened(
    stage: Stage, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bundle, "open", lambda _directory: bundle)
    engine = Engine.model_validate({"backend": "tensorrt", "device": ["1", "0"]})
    load_model(Model(bundle=bundle.directory), engine).detector.close()
    assert stage.asked == [("1", "0")]
