"""A GPU detector over the real kernels in host memory. Its imports wait: the kernels' own tests need few packages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.gpu.host_gpu import HostGpu

if TYPE_CHECKING:
    from edged.core.bundle import Bundle
    from edged.core.types import Thresholds
    from edged.gpu.detector import GpuDetector
    from tests.gpu.detecting import Build


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    from edged.core.bundle import Bundle
    from tests.handmade import write_bundle

    return Bundle.open(write_bundle(tmp_path_factory.mktemp("bundle") / "squares"))


@pytest.fixture
def gpu() -> HostGpu:
    return HostGpu()


@pytest.fixture
def build(gpu: HostGpu, bundle: Bundle) -> Iterator[Build]:
    from edged.core.bundle import MODEL
    from edged.core.types import Thresholds
    from edged.gpu.detector import GpuDetector
    from tests.gpu.host_engine import HostEngine

    made: list[GpuDetector] = []

    def build_detector(
        *,
        in_engine: bool = False,
        half: bool = False,
        max_batch: int = 2,
        thresholds: Thresholds | None = None,
        spoil: float | None = None,
        deadline_s: float = 10.0,
    ) -> GpuDetector:
        engine = HostEngine(
            gpu, bundle.read(MODEL), bundle.manifest, max_batch=max_batch, in_engine=in_engine, half=half
        )
        if spoil is not None:
            engine.spoil = np.array(spoil, np.float32)
        made.append(
            GpuDetector(gpu, engine, bundle.manifest, thresholds=thresholds or Thresholds(), deadline_s=deadline_s)
        )
        return made[-1]

    yield build_detector
    for detector in made:
        detector.close()
