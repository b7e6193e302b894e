"""`[provision]` of edged.toml, read strictly: what `edged-provision` without a subcommand makes."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from edged.config.hints import hint
from edged.config.lines import Key, line_of
from edged.config.toml import Document, read_toml
from edged.core.errors import ConfigError, UsageError
from edged.core.manifest import MAX_SIDE
from edged.core.paths import MODELS, STATE_DIR
from provisioning.build.maker import GPU_NAME, MOST_BATCH, WORKSPACE_MB
from provisioning.families.recognised import PixelName
from provisioning.quantize.thresholds import Method
from provisioning.registry.reference import SCHEME, parse_reference

SECTION = "provision"
_VARIABLE = "EDGED_PROVISION__"
_SIZE = re.compile(r"(\d{2,5})(?:x(\d{2,5}))?")

Batch = Annotated[int, Field(ge=1, le=MOST_BATCH)]


class ProvisionSettings(BaseModel):
    """The keys of `[provision]`. Exactly one of `weights` and `dataset` is needed; the others have defaults.

    Attributes:
        name: of the bundle in the store.
        weights: a known name (`yolov5n`, `yolov5s@6.2`, `yolox-tiny`), an address, or a `.pt` or `.onnx` file.
        dataset: a data-set YAML to train on, in place of `weights`.
        train_arguments: further options of `edged-provision train`.
        source: `oci://registry/name:tag` or `...@sha256:...`: a bundle that was made elsewhere.
        verify_key: public key (PEM) that its signature must be of.
        unsigned: take it without a signature.
        ca_file: certificates (PEM) to trust beside those of the system, of the registry.
        credentials: file in the form of docker's `config.json`; empty for the usual places.
        plain_http: reach the registry without TLS.
        sha256: expected digest of the download, 64 hexadecimal digits.
        trust_first: accept the first download if no digest is known, and expect its digest from then on.
        licence: of the weights, if the file does not say.
        size: network input, `640` or `640x384` (width x height); empty: what an ONNX file was exported with, else 640.
        names: file with the class names of an ONNX file that does not have them, or `coco`, `coco91`.
        pixels: preprocessing that the network of an ONNX file is trained on, where that of its family is not right.
        precision: fp32, fp16 or int8.
        tensorrt: what builds the engine: `tensorrt`, `rtx` (TensorRT for RTX), or `auto`: the first that works.
        gpus: compute capabilities that TensorRT for RTX builds for, or `this`, or `all`; empty means `this`, or `all`
            on a machine without GPU.
        decode: where boxes are decoded: `plugin`, `kernel`, or `auto`: the plugin if the installed TensorRT takes it.
        frames: videos, folders, cameras for calibration and verification.
        frames_count, frames_verification: number of frames for calibration and for verification.
        frames_every_s: seconds between two frames of a live source.
        frames_verify, frames_ca_file: of https and rtsps sources, as the keys `verify` and `ca_file` of a camera.
        seed: of the random choice of frames.
        calibration: `percentile`, `minmax` or `entropy`.
        batch: smallest, optimal and largest batch of the engine.
        workspace_mb: device memory that TensorRT may use while it builds, MiB.
        prenms_score_threshold: 0..1, built into the engine; the daemon reports no lower score.
        max_fall: how far mAP50-95 may fall below float32 on `labelled`, 0..1.
        min_f1: without `labelled`: F1 that the model must reach against the float32 boxes.
        min_boxes: without `labelled`: number of float32 boxes that the frames must show.
        labelled: a data-set YAML whose `val` split decides, in place of the frames.
        store: directory of the bundles.
        work: directory of the stages' outputs; may be deleted between runs.
        threads: of ONNX Runtime; 0 for every core.
        device: the GPU to build for: `auto`, an index, or the UUID of a GPU or MIG instance.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field("camera", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    weights: str = ""
    dataset: str = ""
    train_arguments: list[str] = []
    source: str = ""
    verify_key: str = ""
    unsigned: bool = False
    ca_file: str = ""
    credentials: str = ""
    plain_http: bool = False
    sha256: str = Field("", pattern=r"^([0-9a-fA-F]{64})?$")
    trust_first: bool = False
    licence: str = ""
    size: str = ""
    names: str = ""
    pixels: PixelName | Literal[""] = ""
    precision: Literal["fp32", "fp16", "int8"] = "fp16"
    tensorrt: Literal["auto", "tensorrt", "rtx"] = "auto"
    gpus: list[str] = []
    decode: Literal["auto", "plugin", "kernel"] = "auto"
    frames: list[str] = []
    frames_count: int = Field(200, ge=1, le=100_000)
    frames_verification: int = Field(50, ge=1, le=100_000)
    frames_every_s: float = Field(2.0, gt=0, le=86400)
    frames_verify: bool = True
    frames_ca_file: str = ""
    seed: int = Field(0, ge=0, le=2**32 - 1)
    calibration: Method = "percentile"
    batch: list[Batch] = [1, 1, 4]
    workspace_mb: int = Field(1024, ge=WORKSPACE_MB[0], le=WORKSPACE_MB[1])
    prenms_score_threshold: float = Field(0.001, ge=0, lt=1)
    max_fall: float = Field(0.010, ge=0, le=1)
    min_f1: float = Field(0.90, ge=0, le=1)
    min_boxes: int = Field(50, ge=1)
    labelled: str = ""
    store: str = str(MODELS)
    work: str = str(STATE_DIR / "provision")
    threads: int = Field(0, ge=0, le=1024)
    device: str = "auto"

    @field_validator("size")
    @classmethod
    def _possible_size(cls, text: str) -> str:
        match = _SIZE.fullmatch(text)
        if text and (match is None or any(int(side) % 32 or int(side) > MAX_SIDE for side in match.groups() if side)):
            raise ValueError(f"must be like 640 or 640x384 (width x height), multiples of 32 up to {MAX_SIDE}")
        return text

    @field_validator("batch")
    @classmethod
    def _ascending_batch(cls, batch: list[int]) -> list[int]:
        if len(batch) != 3 or sorted(batch) != batch:  # noqa: PLR2004 - smallest, optimal, largest
            raise ValueError("must be three ascending numbers: smallest, optimal and largest batch")
        if batch[0] != 1:
            raise ValueError("must begin with 1, as a camera may be alone")
        return batch

    @field_validator("gpus", mode="before")
    @classmethod
    def _possible_gpus(cls, gpus: object) -> object:
        names = gpus if isinstance(gpus, list) else [None]
        if not all(isinstance(name, str) and GPU_NAME.fullmatch(name) for name in names):
            raise ValueError('must be a list of compute capabilities such as ["8.6", "8.9"], or ["this"], or ["all"]')
        return gpus

    @model_validator(mode="after")
    def _belong_together(self) -> ProvisionSettings:
        if [bool(self.weights), bool(self.dataset), bool(self.source)].count(True) != 1:
            raise ValueError(
                "needs one of weights (a file, name or address), dataset (a YAML to train on) and source (oci://...)"
            )
        if self.source and bool(self.verify_key) == self.unsigned:
            raise ValueError(
                "source needs either verify_key (a public key that its bundle is signed by) or unsigned = true"
            )
        if self.precision == "int8" and not self.frames and not self.source:
            raise ValueError('precision = "int8" needs frames = ["video.mp4", ...] to calibrate and verify on')
        return self

    @field_validator("source")
    @classmethod
    def _possible_source(cls, text: str) -> str:
        if text and not text.startswith(SCHEME):
            raise ValueError(f"must be {SCHEME}registry/name:tag or {SCHEME}registry/name@sha256:...")
        if text:
            try:
                parse_reference(text)
            except UsageError as exc:
                raise ValueError(str(exc)) from exc
        return text

    @property
    def input_wh(self) -> tuple[int, int] | None:
        """Network input (width, height), pixels; None where no size is asked for."""
        if not self.size:
            return None
        width, _, height = self.size.partition("x")
        return int(width), int(height or width)


def read_settings(path: Path) -> ProvisionSettings:
    """Read and check the `[provision]` table of a configuration file.

    Raises:
        ConfigError: the file cannot be read, or has problems: one line each, `file:line: [provision] key: problem`.
    """
    if unread := sorted(name for name in os.environ if name.upper().startswith(_VARIABLE)):
        raise ConfigError(f"environment {unread[0]}: not read", remedy=f"write it below [{SECTION}] in {path}")
    document = _read(path)
    table = document.table.get(SECTION)
    if not isinstance(table, dict):
        raise ConfigError(
            f"{path}: has no [{SECTION}] table",
            remedy='add one, e.g. [provision] with weights = "yolov5n" and precision = "int8", frames = ["yard.mp4"]',
        )
    try:
        return ProvisionSettings.model_validate(table)
    except ValidationError as exc:
        problems = [_problem(path, document.lines, error["loc"], error["type"], error["msg"]) for error in exc.errors()]
        raise ConfigError("\n".join(problems)) from None


def _read(path: Path) -> Document:
    try:
        return read_toml(path)
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}", remedy="name another with --config FILE") from exc


def _problem(path: Path, lines: dict[Key, int], place: tuple[Any, ...], kind: str, message: str) -> str:
    where = f"{path}:{line_of(lines, (SECTION, *place))}: [{SECTION}]" + (f" {place[0]}" if place else "")
    if kind == "extra_forbidden":
        return f"{where}: unknown key; {hint(SECTION, str(place[0]), list(ProvisionSettings.model_fields))}"
    said = message.removeprefix("Value error, ")
    return f"{where}: {said[0].lower()}{said[1:]}"
