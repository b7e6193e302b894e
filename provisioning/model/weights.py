"""The weights of a network in a checkpoint file, checked against its description and read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from edged.core.errors import DataError
from provisioning.model.archive import Archive
from provisioning.model.described import TensorRef, shown
from provisioning.model.description import Description
from provisioning.model.folding import Array

_MISMATCHES_SHOWN = 3


class Weights(Mapping[str, Array]):
    """Weights by name, floating-point numbers as float32, read from the file whenever they are asked for.

    So the memory of a large network is free for what is made of it. Asking raises DataError as `Archive.tensor`. The
    archive must stay open.
    """

    def __init__(self, archive: Archive, refs: Mapping[str, TensorRef]) -> None:
        self._archive = archive
        self._refs = refs

    def __getitem__(self, name: str) -> Array:
        value = self._archive.read(self._refs[name])
        return value.astype(np.float32, copy=False) if value.dtype.kind == "f" else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._refs)

    def __len__(self) -> int:
        return len(self._refs)


def fitting_weights(archive: Archive, refs: Mapping[str, TensorRef], description: Description) -> Weights:
    """The weights of `description` in a file.

    Args:
        archive: the file; it must stay open.
        refs: its tensors by the names of a checkpoint.
        description: of the network.

    Raises:
        DataError: names or shapes are not those of the description, a value is not finite, or as `Archive.tensor`.
    """
    _refuse_misfit(refs, description)
    weights = Weights(archive, refs)
    for name, value in weights.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise DataError(
                f"weight {name} has values that are not finite", remedy="the training diverged: train again"
            )
    return weights


def _refuse_misfit(refs: Mapping[str, TensorRef], description: Description) -> None:
    wanted = description.weights()
    got = {name: ref.shape for name, ref in refs.items()}
    problems = [
        f"{shown(name)} is {got.get(name, 'missing')}, expected {wanted.get(name, 'nothing')}"
        for name in sorted(wanted.keys() | got.keys())
        if wanted.get(name) != got.get(name)
    ]
    if problems:
        first = "; ".join(problems[:_MISMATCHES_SHOWN])
        raise DataError(
            f"{len(problems)} weights do not fit YOLOv5{description.size} of release {description.release} with "
            f"{description.classes} classes: {first}"
        )
