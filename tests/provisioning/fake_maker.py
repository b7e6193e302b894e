"""What builds engines, without a GPU."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from edged.core.manifest import EngineRecord
from provisioning.build.maker import engine_file


class FakeMaker:
    """A machine that builds engines, without one."""

    def __init__(
        self, *, typed: bool, decode: Literal["plugin", "kernel"], runs_here: bool = True, gpu: str = "Fake"
    ) -> None:
        self.gpu = gpu
        self.typed = typed
        self.decode = decode
        self.built: list[bytes] = []
        self.runs_here = runs_here
        self.title = "TensorRT 10.13.3"
        self.passed_over = ""

    def warning(self, precision: str) -> str:
        return f"nothing speaks for {precision}"

    @property
    def facts(self) -> Mapping[str, str]:
        return {
            "tensorrt": "10.13.3",
            "gpu": self.gpu,
            "compute_capability": "8.7",
            "decode": self.decode,
            "plugin": "1",
        }

    def without_plugin(self) -> FakeMaker:
        other = copy.copy(self)
        other.decode = "kernel"
        return other

    def build(
        self, model: Path, folder: Path, *, precision: str, batch: tuple[int, int, int], workspace_mb: int
    ) -> EngineRecord:
        assert workspace_mb == 1024
        self.built.append(model.read_bytes())
        (folder / "engine.plan").write_bytes(b"plan")
        (folder / "timing.cache").write_bytes(b"timing")
        name = engine_file(precision, self.gpu, ())
        return EngineRecord(name, "10.13.3", self.gpu, "8.7", precision, self.decode, "1", batch)
