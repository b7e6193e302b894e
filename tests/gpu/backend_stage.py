"""What the opening of the GPU backend meets in place of packages, devices and engines."""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edged.core.bundle import MODEL, Bundle
from edged.core.errors import NotInstalled
from edged.core.manifest import EngineRecord, FileRecord
from edged.gpu import backend
from edged.gpu.choice import GpuFacts
from edged.gpu.runtime_cache import RuntimeCache
from edged.gpu.tensorrt import TensorRt
from tests.gpu.fake_tensorrt import FakeWorld, fake_tensorrt
from tests.gpu.host_engine import HostEngine
from tests.gpu.host_gpu import HostDriver, HostGpu
from tests.handmade import write_bundle

RECORD = EngineRecord(
    file="engine.plan",
    tensorrt="10.3.0",
    gpu="Host GPU",
    compute_capability="8.7",
    precision="fp32",
    decode="kernel",
    plugin_version="",
    batch=(1, 2, 2),
)
PORTABLE = replace(RECORD, kind="rtx", tensorrt="1.7.1.116", gpu="", compute_capability="", capabilities=("8.6", "8.7"))
CHOSEN = GpuFacts(0, "GPU-00aa", "Host GPU", "8.7", 1 << 30, partitioned=False, mig=False)


SECOND = replace(CHOSEN, index=1, uuid="GPU-11aa")


class NamedGpu(HostGpu):
    name = "Host GPU"
    uuid = "GPU-00aa"
    compute_capability = (8, 7)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """The hand-made model with an engine that is its own ONNX."""
    plain = Bundle.open(write_bundle(tmp_path / "bundle"))
    content = plain.read(MODEL)
    (plain.directory / RECORD.file).write_bytes(content)
    files = {**plain.manifest.files, RECORD.file: FileRecord(plain.manifest.files[MODEL].sha256, len(content))}
    return Bundle(plain.directory, replace(plain.manifest, files=files, engines=(RECORD,)))


class Stage:
    """Stands in for what needs a GPU: packages, device, plugin, engine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
        driver = HostDriver()
        self.gpus = [NamedGpu(driver=driver), NamedGpu(driver=driver)]
        self.gpu, self.second = self.gpus
        self.second.uuid = SECOND.uuid
        self.chosen: tuple[GpuFacts | None, ...] = (CHOSEN,)
        self.asked: list[tuple[str, ...]] = []
        self.engines: list[HostEngine] = []
        self.plugin_on: list[NamedGpu] = []
        self.manifest = bundle.manifest
        device: Any = types.ModuleType("edged.gpu.device")
        self.lazy: list[bool] = []
        self.versions = {"tensorrt": "10.3.0"}
        self.caches: list[RuntimeCache | None] = []
        device.open_gpu = self.open
        device.register_plugin = self.plugin_on.append
        device.describe = lambda gpu: {"device": f"{gpu.name}, {gpu.uuid}", "CUDA": "13.0"}
        monkeypatch.setitem(sys.modules, "edged.gpu.device", device)
        monkeypatch.setattr(backend, "TensorRtEngine", self.load)
        monkeypatch.setattr(backend, "load", self.runtime)
        monkeypatch.setattr(backend, "_require_cuda", lambda: None)
        monkeypatch.setattr(backend, "_select", self.select)

    def runtime(self, kind: str) -> TensorRt:
        if kind not in self.versions:
            raise NotInstalled(f"{kind} is not installed")
        return fake_tensorrt(FakeWorld(kind=kind, version=self.versions[kind]))

    def select(self, devices: Sequence[str], _need_mb: int) -> tuple[GpuFacts | None, ...]:
        self.asked.append(tuple(devices))
        return self.chosen

    def open(self, ordinal: int, *, lazy: bool) -> NamedGpu:
        self.lazy.append(lazy)
        self.gpus[ordinal].enter()
        return self.gpus[ordinal]

    def load(
        self, tensorrt: TensorRt, plan: bytes, gpu: NamedGpu, *, where: str, cache: RuntimeCache | None
    ) -> HostEngine:
        assert where.endswith("engine.plan") and tensorrt.version in self.versions.values()
        self.caches.append(cache)
        self.engines.append(HostEngine(gpu, plan, self.manifest, max_batch=2))
        return self.engines[-1]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> Stage:
    return Stage(monkeypatch, bundle)
