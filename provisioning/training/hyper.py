"""The hyper-parameters of training, read from TOML; `hyper.toml` explains each and has the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from edged.config.toml import read_toml
from edged.core.errors import ConfigError
from provisioning.data.batches import Augmentation
from provisioning.training.loss import LossGains

DEFAULTS = Path(__file__).with_name("hyper.toml")
_RANGES = {  # both limits included; other numbers must be 0 to 1e9
    "mosaic": (0, 1), "mixup": (0, 1), "hue": (0, 1), "saturation": (0, 1), "value": (0, 1), "flip_lr": (0, 1),
    "flip_ud": (0, 1), "translate": (0, 0.9), "scale": (0, 0.99), "perspective": (0, 0.001), "momentum": (0, 0.9999),
    "warmup_momentum": (0, 0.9999), "final_rate": (0, 1), "decay": (0, 1), "label_smoothing": (0, 1),
    "degrees": (0, 180), "shear": (0, 45), "tau": (1, 1e9), "nominal_batch": (1, 1 << 20), "anchor_ratio": (1.01, 100),
    "rate": (1e-9, 10), "clip_norm": (1e-6, 1e9),
}  # fmt: skip
_CHOICES = {"name": ("sgd", "adamw"), "shape": ("cosine", "linear")}
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class OptimizerHyper:
    """`[optimizer]`: the kind of optimiser, learning rate, momentum, decay of weights, accumulation and clipping."""

    name: str = "sgd"
    rate: float = 0.01
    momentum: float = 0.937
    weight_decay: float = 0.0005
    nominal_batch: int = 64
    clip_norm: float = 10.0


@dataclass(frozen=True, slots=True)
class ScheduleHyper:
    """`[schedule]`: how the learning rate falls over the run, the warm-up, and last epochs without mosaic."""

    shape: str = "cosine"
    final_rate: float = 0.01
    warmup_epochs: float = 3.0
    warmup_momentum: float = 0.8
    warmup_bias_rate: float = 0.1
    plain_epochs: int = 0


@dataclass(frozen=True, slots=True)
class EmaHyper:
    """`[ema]`: `decay` (0..1) of the moving average of the weights, reached over about `tau` steps."""

    decay: float = 0.9999
    tau: float = 2000.0


@dataclass(frozen=True, slots=True)
class Hyper:
    """All hyper-parameters, one attribute for each table of `hyper.toml`."""

    optimizer: OptimizerHyper = field(default_factory=OptimizerHyper)
    schedule: ScheduleHyper = field(default_factory=ScheduleHyper)
    ema: EmaHyper = field(default_factory=EmaHyper)
    loss: LossGains = field(default_factory=LossGains)
    augment: Augmentation = field(default_factory=Augmentation)

    def to_plain(self) -> dict[str, Any]:
        """Nested dictionaries of numbers and text, for a checkpoint."""
        return asdict(self)


def read_hyper(file: Path | None) -> Hyper:
    """Read a file of hyper-parameters; keys that it lacks, or all if `file` is None, have their defaults.

    Raises:
        ConfigError: it cannot be read, is not TOML, or has an unknown key or a value of a wrong type or range.
    """
    if file is None:
        return Hyper()
    try:
        content = read_toml(file).table
    except OSError as exc:
        raise ConfigError(f"hyper-parameters {file} cannot be read: {exc.strerror}") from exc
    return _build(Hyper, content, where=str(file))


def _build(kind: type[_T], content: Mapping[str, Any], *, where: str) -> _T:
    hints = get_type_hints(kind)
    known = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in content.items():
        place = f"{where}: {key}"
        if key not in known:
            close = get_close_matches(key, known, n=1)
            hint = f'did you mean "{close[0]}"?' if close else f"known: {', '.join(sorted(known))}"
            raise ConfigError(f"{place}: unknown key", remedy=hint)
        values[key] = _value(hints[key], key, value, place)
    return kind(**values)


def _value(kind: type[Any], key: str, value: object, place: str) -> object:
    if is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{place} must be a table, got {value!r}")
        return _build(kind, value, where=place)
    if kind is str:
        if value not in _CHOICES[key]:
            raise ConfigError(f"{place} must be {' or '.join(_CHOICES[key])}, got {value!r}")
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or (kind is int and not isinstance(value, int)):
        raise ConfigError(f"{place} must be {'an integer' if kind is int else 'a number'}, got {value!r}")
    low, high = _RANGES.get(key, (0, 1e9))
    if not low <= value <= high:  # false for NaN, too
        raise ConfigError(f"{place} must be in {low:g} to {high:g}, got {value!r}")
    return kind(value)
