"""Reads a pickle without executing it, with a stack machine that calls nothing and imports nothing.

Python's unpickler calls whatever the bytes name. This one decodes the instructions with `pickletools` and builds plain
data: containers, numbers, text, descriptions of tensors, and a `Record` for an object of any other class. Dangerous
names of the standard library are refused. `getattr` is accepted only for a method of a model's class or object, which
pickles hold of modules whose `forward` was replaced (fused and segmentation models); it becomes a `Record`, too.
"""

from __future__ import annotations

import pickletools
import warnings
from _compat_pickle import IMPORT_MAPPING
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

from edged.core.errors import DataError
from provisioning.model.described import (
    ATTRIBUTE,
    Name,
    Record,
    StorageRef,
    hostile,
    made,
    named,
)

MAX_INSTRUCTIONS = 5_000_000  # an official checkpoint has tens of thousands


def read_pickle(file: BinaryIO) -> object:
    """Read the pickle at the file's position. Afterwards the position is behind it.

    Returns:
        None, bool, int, float, str, bytes, list (for a set too), tuple, dict (for OrderedDict too), `TensorRef`,
        `StorageRef`, `Name` or `Record`.

    Raises:
        DataError: the pickle is damaged or too large, or has an instruction or a name that no checkpoint needs.
    """
    machine = _Machine()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # escapes in the text of protocol 0
            for count, (opcode, arg, _) in enumerate(pickletools.genops(file)):
                if count >= MAX_INSTRUCTIONS:
                    raise DataError(f"a pickle of more than {MAX_INSTRUCTIONS:,} instructions; refused")
                if opcode.name == "STOP":
                    return machine.result()
                machine.step(opcode.name, arg)
    except (IndexError, KeyError, ValueError, TypeError, AttributeError, OverflowError) as exc:
        raise DataError(f"damaged pickle ({exc})", remedy="download or copy the file again") from exc
    raise DataError("the pickle ends early", remedy="download or copy the file again")


class _Machine:
    """Stack, marks and memo of the pickle that is read."""

    def __init__(self) -> None:
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._memo: dict[int, object] = {}

    def step(self, opcode: str, arg: object) -> None:
        """Carry out one instruction."""
        if opcode in _LITERALS:
            self._stack.append(arg)
        elif opcode in _FRESH:
            self._stack.append(_FRESH[opcode]())
        elif opcode in _ACTIONS:
            _ACTIONS[opcode](self, arg)
        elif opcode == "INST":  # a call in protocol 0: only its name matters here
            self._push_name(*str(arg).split(" ", 1))
            if self._stack[-1] is ATTRIBUTE:
                raise hostile(ATTRIBUTE)
        elif opcode not in {"PROTO", "FRAME"}:
            raise DataError(f"pickle instruction {opcode}, which no checkpoint of torch has; refused")

    def pop(self) -> object:
        """Take the top of the stack, not below the last mark.

        Raises:
            DataError: it is `getattr`, which may only be called.
            IndexError: there is none.
        """
        top = self._pop_any()
        if top is ATTRIBUTE:
            raise hostile(ATTRIBUTE)
        return top

    def result(self) -> object:
        """The object that the pickle describes: the top of the stack at the end."""
        top = self.pop()
        if any(item is ATTRIBUTE for item in self._stack):
            raise hostile(ATTRIBUTE)
        return top

    def _pop_any(self) -> object:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise IndexError("stack underflow")
        return self._stack.pop()

    def _pop_to_mark(self) -> list[object]:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        if any(item is ATTRIBUTE for item in items):
            raise hostile(ATTRIBUTE)
        return items

    def _mark(self, _: object) -> None:
        self._marks.append(len(self._stack))

    def _put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def _memoize(self, _: object) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def _tuple(self, length: int) -> None:
        items = [self.pop() for _ in range(length)]
        self._stack.append(tuple(reversed(items)))

    def _add(self, items: list[object]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Record):  # items of a Record are not needed
            raise TypeError(f"items for a {type(target).__name__}")

    def _dictionary(self, _: object) -> None:
        items = self._pop_to_mark()
        self._stack.append({})
        self._set(items)

    def _set(self, items: Sequence[object]) -> None:
        target = self._stack[-1]
        pairs = list(zip(items[::2], items[1::2], strict=True))
        if isinstance(target, dict):
            # Only flat keys: hashing deeply nested tuples could overflow the interpreter's stack.
            if not all(isinstance(key, (str, int, float, bytes, type(None))) for key, _ in pairs):
                raise TypeError("a dictionary key that is neither text nor number")
            target.update(pairs)
        elif not isinstance(target, Record):
            raise TypeError(f"entries for a {type(target).__name__}")

    def _push_name(self, module: str, name: str) -> None:
        module = IMPORT_MAPPING.get(module, module)  # protocols below 3 write the names of Python 2
        self._stack.append(named(module, name))

    def _stack_global(self, _: object) -> None:
        name, module = self.pop(), self.pop()
        self._push_name(str(module), str(name))

    def _make(self, _: object) -> None:
        args, kind = self.pop(), self._pop_any()
        if isinstance(kind, Record) and kind.kind is ATTRIBUTE:
            raise hostile(ATTRIBUTE)  # a call of the method that getattr would return
        if not isinstance(kind, Name) or not isinstance(args, tuple):
            raise TypeError("a call of something that is no name")
        self._stack.append(made(kind, args))

    def _make_with_keywords(self, _: object) -> None:
        self.pop()
        self._make(None)

    def _build(self, _: object) -> None:
        state, target = self.pop(), self._stack[-1]
        if not isinstance(target, Record):
            return  # torch sets `_metadata` on a state dict; it is not needed
        attributes = state[0] if isinstance(state, tuple) and state else state  # (attributes, slots) or attributes
        if isinstance(attributes, dict):
            target.state = attributes

    def _persistent(self, _: object) -> None:
        match self.pop():
            case ("storage", Name() as storage, str() as key, _, int() as count, *_):
                self._stack.append(StorageRef(storage.name, key, count))
            case _:
                raise TypeError("a persistent id that is no storage")


_LITERALS = frozenset(
    {
        *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
        *("INT", "LONG", "FLOAT", "STRING", "UNICODE"),  # protocol 0
    }
)
_FRESH: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_SET": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
}
# ruff: noqa: SLF001 (the table of the machine's own methods)
_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine._mark,
    "BINPUT": _Machine._put,
    "LONG_BINPUT": _Machine._put,
    "PUT": _Machine._put,
    "GET": _Machine._get,
    "MEMOIZE": _Machine._memoize,
    "BINGET": _Machine._get,
    "LONG_BINGET": _Machine._get,
    "TUPLE": lambda m, _: m._stack.append(tuple(m._pop_to_mark())),
    "TUPLE1": lambda m, _: m._tuple(1),
    "TUPLE2": lambda m, _: m._tuple(2),
    "TUPLE3": lambda m, _: m._tuple(3),
    "FROZENSET": lambda m, _: m._stack.append(m._pop_to_mark()),
    "LIST": lambda m, _: m._stack.append(m._pop_to_mark()),
    "DICT": _Machine._dictionary,
    "APPEND": lambda m, _: m._add([m.pop()]),
    "APPENDS": lambda m, _: m._add(m._pop_to_mark()),
    "ADDITEMS": lambda m, _: m._add(m._pop_to_mark()),
    "SETITEM": lambda m, _: m._set([m.pop(), m.pop()][::-1]),
    "SETITEMS": lambda m, _: m._set(m._pop_to_mark()),
    "GLOBAL": lambda m, arg: m._push_name(*str(arg).split(" ", 1)),
    "STACK_GLOBAL": _Machine._stack_global,
    "REDUCE": _Machine._make,
    "NEWOBJ": _Machine._make,
    "NEWOBJ_EX": _Machine._make_with_keywords,
    "BUILD": _Machine._build,
    "BINPERSID": _Machine._persistent,
}
