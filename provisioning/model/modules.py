"""Lists the modules of a pickled network and their tensors by dotted name, within limits."""

from __future__ import annotations

from collections.abc import Iterator

from edged.core.errors import DataError
from provisioning.model.described import MAX_NAME, Record, TensorRef, shown

MAX_MODULES = 20_000


def parameters(record: Record) -> dict[str, TensorRef]:
    """Parameters and buffers of this module, by name, without those of its children."""
    own: dict[str, TensorRef] = {}
    for group in ("_parameters", "_buffers"):
        values = record.state.get(group)
        if isinstance(values, dict):
            own.update({name: ref for name, ref in values.items() if isinstance(ref, TensorRef)})
    return own


def records(model: Record) -> Iterator[tuple[str, Record]]:
    """Every module with its dotted name, depth first; the model itself has the empty name.

    Raises:
        DataError: there are more than MAX_MODULES modules, or a name is too long.
    """
    waiting, seen = [("", model)], 0
    while waiting:
        prefix, record = waiting.pop()
        seen += 1
        if seen > MAX_MODULES:  # modules may share children: a small file could describe a huge number
            raise DataError(f"more than {MAX_MODULES:,} modules; refused")
        yield prefix, record
        children = record.state.get("_modules")
        for name, child in children.items() if isinstance(children, dict) else ():
            if isinstance(child, Record):
                waiting.append((_path(prefix, name), child))


def tensors(model: Record) -> Iterator[tuple[str, TensorRef]]:
    """Names as in a state dict, with references to the tensors.

    Raises:
        DataError: as `records`.
    """
    for prefix, record in records(model):
        for name, ref in parameters(record).items():
            yield _path(prefix, name), ref


def _path(prefix: str, name: object) -> str:
    """The dotted name. It is limited: a hostile file could use one long text in very many names."""
    if not isinstance(name, str) or len(name) + len(prefix) > MAX_NAME:
        raise DataError(f"a module or weight called {shown(name)} in one called {shown(prefix)}; refused")
    return f"{prefix}.{name}".removeprefix(".")
