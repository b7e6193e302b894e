"""The names, objects and tensors of a pickle as plain data; refuses names that only a hostile file has.

Nothing named in a pickle is ever called, refused or not. A refusal tells the user that the file is hostile.
"""

from __future__ import annotations

import reprlib
import sys
from dataclasses import dataclass, field

from edged.core.errors import DataError

MAX_DIMENSIONS = 8
MAX_NAME = 200  # characters of module and class together

# Modules of the standard library that real checkpoints name; all other ones are refused.
_HARMLESS = frozenset(
    {
        *("argparse", "collections", "copyreg", "datetime", "decimal", "enum", "fractions", "functools"),
        *("pathlib", "typing", "uuid", "_codecs"),  # _codecs.encode: how protocol 2 writes bytes
    }
)
_BUILTINS = "builtins"
_GETATTR = "getattr"
# Packages whose classes' methods a checkpoint may hold: those that YOLOv5 and related projects pickle.
_MODEL_PACKAGES = ("models.", "yolov5.", "yolov6.", "ultralytics.", "torch.nn.modules.")
_CONTAINERS = frozenset({"set", "frozenset", "list", "tuple", "dict", "object", "complex", "bytearray", "slice"})


@dataclass(frozen=True, slots=True)
class Name:
    """Name of a class or function in a pickle; it is never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


ATTRIBUTE = Name(_BUILTINS, _GETATTR)


@dataclass(slots=True, eq=False)
class Record:
    """Describes an object that unpickling would have made.

    Attributes:
        kind: its class, or the function that would have made it.
        args: arguments of that call.
        state: its attributes.
    """

    kind: Name
    args: tuple[object, ...]
    state: dict[str, object] = field(default_factory=dict)


class _Shown(reprlib.Repr):
    """Shortens values for messages: a few bytes can describe endlessly nested containers."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring = 2, 60

    def repr_instance(self, x: object, _level: int) -> str:
        if x is None or isinstance(x, (bool, float, Name)):
            return str(x)
        return str(x.kind) if isinstance(x, Record) else type(x).__name__


shown = _Shown().repr  # for values from a file in messages: short, one line, without control characters


def short_text(value: object) -> str:
    """`value` if it is one short line of printable text, such as a licence; else an empty text."""
    return value if isinstance(value, str) and len(value) <= MAX_NAME and value.isprintable() else ""


@dataclass(frozen=True, slots=True)
class StorageRef:
    """Torch's persistent id: `count` numbers in record `key` of the archive; `dtype` is e.g. `FloatStorage`."""

    dtype: str
    key: str
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class TensorRef:
    """A tensor as a view of a storage; offset and stride in elements. Not yet checked against the storage."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def named(module: str, name: str) -> Name:
    """The name if a real checkpoint may hold it; the object `ATTRIBUTE` for `getattr`.

    Raises:
        DataError: it belongs to the standard library and is not known to be harmless, or no class has such a name.
    """
    if len(module) + len(name) > MAX_NAME or not (module + name).isprintable():
        raise DataError(
            f"damaged pickle: it names {shown(f'{module[:MAX_NAME]}.{name[:MAX_NAME]}')}, which is no class"
        )
    if (module, name) == (ATTRIBUTE.module, ATTRIBUTE.name):
        return ATTRIBUTE
    root, inner = module.split(".", 1)[0], name.split(".")
    harmless = root in _HARMLESS or (module == _BUILTINS and name in _CONTAINERS)
    # A dotted name is looked up attribute by attribute: `models.common` with `os.system` would reach os.system.
    reaches = len(inner) > 1 and any(part in sys.stdlib_module_names or part.startswith("__") for part in inner)
    if (root in sys.stdlib_module_names and not harmless) or reaches:
        raise hostile(Name(module, name))
    return Name(module, name)


def hostile(asked: Name) -> DataError:
    """The error for a pickle that asks for `asked`."""
    return DataError(
        f"hostile pickle: it asks for {asked}, which no checkpoint needs; refused, nothing of it was executed",
        remedy="do not load this file with other tools; get the weights from a source you trust",
    )


def _require_method(args: tuple[object, ...]) -> None:
    """Raise unless these arguments of `getattr` ask for a method of a model's class, or of an object of one."""
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
    """What a call of `kind` with `args` stands for: plain data for the few that we know, else a `Record`.

    Nothing is copied: a hostile file could ask for the same copy many times, and fill the memory.

    Raises:
        DataError: `getattr` of anything other than a method of a model's class.
        TypeError, ValueError, IndexError: the pickle is damaged.
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
