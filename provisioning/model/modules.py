"""The modules of a pickled network, walked within bounds: records and their tensors by dotted name."""

from __future__ import annotations

from collections.abc import Iterator

from edged.core.errors import DataError
from provisioning.model.described import MAX_NAME, Record, TensorRef, shown

MAX_MODULES = 20_000


def parameters(record: Record) -> dict[str, TensorRef]:
    """The record's own parameters and buffers."""
    own: dict[str, TensorRef] = {}
    for group in ("_parameters", "_buffers"):
        values = record.state.get(group)
        if isinstance(values, dict):
            own.update({name: ref for name, ref in values.items() if isinstance(ref, TensorRef)})
    return own


def records(model: Record) -> Iterator[tuple[str, Record]]:
    """Every module with its dotted name, depth first; the model itself has the empty name.

    Raises:
        DataError: more modules, or longer names, than any network has.
    """
    waiting, seen = [("", model)], 0
    while waiting:
        prefix, record = waiting.pop()
        seen += 1
        if seen > MAX_MODULES:  # records may share children: a small file could describe endlessly many
            raise DataError(f"more than {MAX_MODULES:,} modules; refused")
        yield prefix, record
        children = record.state.get("_modules")
        for name, child in children.items() if isinstance(children, dict) else ():
            if isinstance(child, Record):
                waiting.append((_path(prefix, name), child))


def tensors(model: Record) -> Iterator[tuple[str, TensorRef]]:
    """State dict names and references; raises as `records` does."""
    for prefix, record in records(model):
        for name, ref in parameters(record).items():
            yield _path(prefix, name), ref


def _path(prefix: str, name: object) -> str:
    """The dotted name; in a hostile file the same long text could be part of very many."""
    if not isinstance(name, str) or len(name) + len(prefix) > MAX_NAME:
        raise DataError(f"a module or weight called {shown(name)} in one called {shown(prefix)}; refused")
    return f"{prefix}.{name}".removeprefix(".")
