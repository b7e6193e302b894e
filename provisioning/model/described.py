"""What a pickle describes, as data: the names, objects and tensors in it, and which names no honest file has.

Nothing is ever called: what is refused here differs only in that a person is told that the file is hostile.
"""

from __future__ import annotations

import reprlib
import sys
from dataclasses import dataclass, field

from edged.core.errors import DataError

MAX_DIMENSIONS = 8
MAX_NAME = 200  # letters of module and class together

# Names of the standard library that honest checkpoints hold; everything else there is refused.
_HARMLESS = frozenset(
    {
        *("argparse", "collections", "copyreg", "datetime", "decimal", "enum", "fractions", "functools"),
        *("pathlib", "typing", "uuid", "_codecs"),  # _codecs.encode: how protocol 2 writes bytes
    }
)
_BUILTINS = "builtins"
_GETATTR = "getattr"
# Whose classes' methods a checkpoint may hold: what YOLOv5 and its kin pickle their modules from.
_MODEL_PACKAGES = ("models.", "yolov5.", "yolov6.", "ultralytics.", "torch.nn.modules.")
_CONTAINERS = frozenset({"set", "frozenset", "list", "tuple", "dict", "object", "complex", "bytearray", "slice"})


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function that the pickle names: known by name, never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


ATTRIBUTE = Name(_BUILTINS, _GETATTR)


@dataclass(slots=True, eq=False)
class Record:
    """An object of some class, inert: what it was made from and what was set on it.

    Attributes:
        kind: its class (or the function that would have made it).
        args: what it would have been called with.
        state: its attributes.
    """

    kind: Name
    args: tuple[object, ...]
    state: dict[str, object] = field(default_factory=dict)


class _Shown(reprlib.Repr):
    """A few bytes can describe containers without end, held by each other: only the outside of a value is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring = 2, 60

    def repr_instance(self, x: object, _level: int) -> str:
        if x is None or isinstance(x, (bool, float, Name)):
            return str(x)
        return str(x.kind) if isinstance(x, Record) else type(x).__name__


shown = _Shown().repr  # a value out of a file, for messages: short, on one line, without control characters


def short_text(value: object) -> str:
    """A line of a file's own description, such as its licence; nothing where it is no short line of text."""
    return value if isinstance(value, str) and len(value) <= MAX_NAME and value.isprintable() else ""


@dataclass(frozen=True, slots=True)
class StorageRef:
    """Numbers kept outside the pickle: torch's persistent id. `dtype` as in `FloatStorage`."""

    dtype: str
    key: str
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class TensorRef:
    """A tensor's view of a storage, in elements; not yet checked against it."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def named(module: str, name: str) -> Name:
    """The name, where an honest checkpoint may hold it; `ATTRIBUTE` itself for `getattr`.

    Raises:
        DataError: it belongs to the standard library and could act, or it is none that a class can have.
    """
    if len(module) + len(name) > MAX_NAME or not (module + name).isprintable():
        raise DataError(
            f"damaged pickle: it names {shown(f'{module[:MAX_NAME]}.{name[:MAX_NAME]}')}, which is no class"
        )
    if (module, name) == (ATTRIBUTE.module, ATTRIBUTE.name):
        return ATTRIBUTE
    root, inner = module.split(".", 1)[0], name.split(".")
    harmless = root in _HARMLESS or (module == _BUILTINS and name in _CONTAINERS)
    # Python looks a dotted name up attribute by attribute: `models.common` may hold `os`, and that `os.system`.
    reaches = len(inner) > 1 and any(part in sys.stdlib_module_names or part.startswith("__") for part in inner)
    if (root in sys.stdlib_module_names and not harmless) or reaches:
        raise hostile(Name(module, name))
    return Name(module, name)


def hostile(asked: Name) -> DataError:
    """The refusal of a pickle that asks for `asked`."""
    return DataError(
        f"hostile pickle: it asks for {asked}, which no checkpoint needs; refused, nothing of it was executed",
        remedy="do not load this file with other tools; get the weights from a source you trust",
    )


def _require_method(args: tuple[object, ...]) -> None:
    """Raise unless `getattr` is asked for a method of a model's class, or of an object of one."""
    match args:
        case ((Name() as owner) | Record(kind=owner), str() as attribute):
            if (
                owner.module.startswith(_MODEL_PACKAGES)
                and owner.name[:1].isupper()
                and attribute.isidentifier()
                and not attribute.startswith("__")
            ):
                return
    raise hostile(ATTRIBUTE)


def made(kind: Name, args: tuple[object, ...]) -> object:
    """What calling `kind` with `args` would describe: plain data for the few that we know, else a record.

    Nothing is copied here: a few bytes that ask for the same copy again and again could fill the memory.

    Raises:
        DataError: `getattr` of anything but a method of a model's class.
        TypeError, ValueError, IndexError: damaged.
    """
    if kind is ATTRIBUTE:
        _require_method(args)
    known = str(kind)
    if known == "collections.OrderedDict" and not args:
        return {}
    if kind.module == _BUILTINS and kind.name in {"set", "frozenset"} and len(args) == 1 and isinstance(args[0], list):
        return args[0]
    if known == "torch.Size":
        return args[0]
    if known == "torch._utils._rebuild_tensor_v2":
        storage, offset, shape, stride = args[:4]
        if not isinstance(storage, StorageRef) or not isinstance(offset, int):
            raise TypeError("a tensor without storage")
        return TensorRef(storage, offset, _geometry(shape), _geometry(stride))
    if known in {"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"}:
        return args[0]
    return Record(kind, args)


def _geometry(value: object) -> tuple[int, ...]:
    if not isinstance(value, tuple) or len(value) > MAX_DIMENSIONS or not all(type(side) is int for side in value):
        raise TypeError("a tensor's shape or stride is no short tuple of integers")
    return value
