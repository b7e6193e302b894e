"""The pickle reader: builds data, calls nothing, and stays within bounds whatever the bytes ask for."""

from __future__ import annotations

import argparse
import builtins
import collections
import contextlib
import datetime as dt
import io
import os
import pickle
import struct
import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edged.core.errors import DataError
from provisioning.model import inert
from provisioning.model.checkpoint import read_checkpoint
from provisioning.model.described import Name, Record
from provisioning.model.inert import read_pickle
from provisioning.model.modules import records
from provisioning.model.torch_checkpoint import checkpoint_of, save_checkpoint
from tests.provisioning.networks import lively

_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner, inner, inner)
    ),
    max_leaves=20,
)


class Calls:
    """Pickles as a call of `function` with `args`."""

    def __init__(self, function: Callable[..., object], *args: object) -> None:
        self._call = function, args

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self._call


def _read(content: bytes) -> object:
    return read_pickle(io.BytesIO(content))


@given(value=_PLAIN, protocol=st.sampled_from([0, 1, 2, 3, 4, 5]))
def test_read_pickle_agrees_with_python_on_plain_data(value: object, protocol: int) -> None:
    assert _read(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", [2, 4])
def test_read_pickle_makes_containers_and_records(protocol: int) -> None:
    value = {
        "ordered": collections.OrderedDict(a=1),
        "set": {1, 2},
        "namespace": argparse.Namespace(epochs=3),
        "bytes": b"\xff\x00",
        "date": dt.date(2020, 1, 2),
        "size": torch.Size((2, 3)),
    }
    got = _read(pickle.dumps(value, protocol))
    assert isinstance(got, dict)
    assert (got["ordered"], sorted(got["set"]), got["size"]) == ({"a": 1}, [1, 2], (2, 3))
    namespace = got["namespace"]
    assert isinstance(namespace, Record)
    assert (namespace.kind, namespace.state) == (Name("argparse", "Namespace"), {"epochs": 3})


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    ("call", "named"),
    [
        pytest.param(lambda mark: Calls(os.system, f"touch {mark}"), "posix.system", id="os.system"),
        pytest.param(lambda mark: Calls(subprocess.Popen, ["touch", str(mark)]), "subprocess.Popen", id="popen"),
        pytest.param(lambda mark: Calls(builtins.eval, f"open({str(mark)!r}, 'w')"), "eval", id="eval"),
        pytest.param(lambda mark: Calls(builtins.open, str(mark), "w"), "open", id="open"),
        pytest.param(lambda _: Calls(getattr, dict, "fromkeys"), "getattr", id="getattr"),
    ],
)
def test_hostile_checkpoint_is_named_and_not_executed(
    tmp_path: Path, call: Callable[[Path], Calls], named: str, protocol: int
) -> None:
    mark = tmp_path / "executed"
    path = tmp_path / "evil.pt"
    torch.save({"model": call(mark)}, path, pickle_protocol=protocol)
    with pytest.raises(DataError, match=f"hostile pickle: it asks for .*{named}.*nothing of it was executed"):
        read_checkpoint(path)
    assert not mark.exists()
    assert DataError.exit_code == 65


def test_hostile_checkpoint_would_act_elsewhere(tmp_path: Path) -> None:
    """The proof that the test above can fail: Python's own unpickler does execute it."""
    mark = tmp_path / "executed"
    torch.save({"model": Calls(os.system, f"touch {mark}")}, tmp_path / "evil.pt")
    torch.load(tmp_path / "evil.pt", weights_only=False)
    assert mark.exists()


def test_torch_functions_become_records(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    torch.save({"model": Calls(torch.hub.load, "somebody/repository", "model")}, path)
    with pytest.raises(DataError, match=r"it holds a torch\.hub\.load"):
        read_checkpoint(path)


_HEAD = b"\x80\x02"
_GETATTR = b"c__builtin__\ngetattr\n"
_CONV = b"cmodels.common\nConv\n"


@pytest.mark.parametrize(
    "owner",
    [_CONV, _CONV + b")\x81", b"ctorch.nn.modules.activation\nSiLU\n)\x81"],
    ids=["of a class", "of an object", "of a module of torch"],
)
def test_method_of_a_model_is_inert(owner: bytes) -> None:
    got = _read(_HEAD + _GETATTR + b"q\x00" + owner + b"X\x07\x00\x00\x00forward\x86R.")
    assert isinstance(got, Record)
    assert (got.kind, got.args[1]) == (Name("builtins", "getattr"), "forward")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(_GETATTR + b"cos\npath\nS'join'\n\x86R.", id="of the library"),
        pytest.param(_GETATTR + b"ccollections\nOrderedDict\nS'fromkeys'\n\x86R.", id="of a harmless class"),
        pytest.param(_GETATTR + b"cmodels.common\nos\nS'system'\n\x86R.", id="of a module that a model imports"),
        pytest.param(_GETATTR + b"ctorch\nHub\nS'load'\n\x86R.", id="of torch"),
        pytest.param(_GETATTR + b"ctorch.hub\nLoader\nS'load'\n\x86R.", id="of another part of torch"),
        pytest.param(_GETATTR + b"cmodelsevil\nConv\nS'forward'\n\x86R.", id="of a package with a like name"),
        pytest.param(_GETATTR + _CONV + b"S'__init__'\n\x86R.", id="of Python's own methods"),
        pytest.param(_GETATTR + _CONV + b"S'forward.__globals__'\n\x86R.", id="of a path"),
        pytest.param(_GETATTR + _GETATTR + _CONV + b"S'a'\n\x86RS'b'\n\x86R.", id="of an attribute"),
        pytest.param(_GETATTR + b"S'text'\nS'format'\n\x86R.", id="of text"),
        pytest.param(_GETATTR + _CONV + b"S'f'\nN\x87R.", id="with a default"),
        pytest.param(_GETATTR + _CONV + b"\x85R.", id="of nothing"),
        pytest.param(_GETATTR + _CONV + b"S'f'\n\x86R)R.", id="called"),
        pytest.param(_GETATTR + _CONV + b"S'f'\n\x86R)\x81.", id="made"),
        pytest.param(_GETATTR + b"q\x00N.", id="left behind"),
        pytest.param(_GETATTR + b".", id="as the result"),
        pytest.param(_GETATTR + b"q\x00\x85.", id="in a tuple"),
        pytest.param(b"](" + _GETATTR + b"e.", id="in a list"),
        pytest.param(b"}S'forward'\n" + _GETATTR + b"s.", id="in a dictionary"),
        pytest.param(b"cfunctools\npartial\n" + _GETATTR + _CONV + b"\x86R.", id="handed on"),
        pytest.param(_CONV + b")\x81" + _GETATTR + b"b.", id="as a state"),
        pytest.param(b"(" + _CONV + b"S'forward'\ni__builtin__\ngetattr\n.", id="as an instance"),
        pytest.param(b"(" + _CONV + b"S'forward'\ni__builtin__\ngetattr\nN.", id="as an instance, left behind"),
    ],
)
def test_any_other_getattr_is_hostile(content: bytes) -> None:
    with pytest.raises(DataError, match=r"hostile pickle: it asks for (builtins\.getattr|os\.path)"):
        _read(_HEAD + content)


@pytest.mark.parametrize("name", ["os.system", "Conv.__init__.__globals__", "Conv.__subclasses__"])
def test_a_dotted_name_that_reaches_into_the_library_is_hostile(name: str) -> None:
    with pytest.raises(DataError, match=f"hostile pickle: it asks for models.common.{name}"):
        _read(_HEAD + b"\x8c\x0dmodels.common\x8c" + bytes([len(name)]) + name.encode() + b"\x93)R.")


@pytest.mark.parametrize("text", ["a" * 300, "." * 2_000_000, "sys\x1b[31mtem", "system\nedged: all is well", "\ud800"])
def test_a_name_that_no_class_has_is_refused_in_a_short_line(text: str) -> None:
    """Terminals obey what they print, and a dotted name of megabytes costs minutes to look through."""
    name = text.encode("utf-8", "surrogatepass")
    with pytest.raises(DataError, match=r"it names .*, which is no class") as caught:
        _read(b"\x80\x04\x8c\x02os" + b"X" + struct.pack("<I", len(name)) + name + b"\x93.")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "damaged", id="empty"),
        pytest.param(_HEAD, "damaged", id="no stop"),
        pytest.param(_HEAD + b".", "underflow", id="nothing to stop on"),
        pytest.param(_HEAD + b"K\x01a.", "damaged", id="append to nothing"),
        pytest.param(_HEAD + b"h\x07.", "damaged", id="unknown memo"),
        pytest.param(_HEAD + b"t.", "damaged", id="no mark"),
        pytest.param(_HEAD + b"(K\x01\x86.", "underflow", id="below the mark"),
        pytest.param(_HEAD + b"}(K\x01u.", "damaged", id="half a pair"),
        pytest.param(_HEAD + b"}(]K\x01u.", "neither text nor number", id="unhashable key"),
        pytest.param(_HEAD + b"NN\x81.", "no name", id="call of nothing"),
        pytest.param(_HEAD + b"NQ.", "no storage", id="persistent id"),
        pytest.param(_HEAD + b"X\xff\xff\xff\x7fab.", "damaged", id="text longer than the file"),
        pytest.param(_HEAD + b"\x8b\xff\xff\xff\x7fab.", "damaged", id="number longer than the file"),
        pytest.param(b"cposix\nsystem\n(S'id'\ntR.", "asks for posix.system", id="protocol 0 call"),
        pytest.param(b"(iposix\nsystem\n.", "hostile pickle: it asks for posix.system", id="protocol 0 instance"),
        pytest.param(_HEAD + b"\x82\x01.", "EXT1", id="extension registry"),
        pytest.param(b"\xff" * 40, "damaged", id="noise"),
    ],
)
def test_read_pickle_refuses(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        _read(content)


@given(content=st.binary(max_size=200))
def test_read_pickle_of_noise_is_data_or_refused(content: bytes) -> None:
    with contextlib.suppress(DataError):
        _read(_HEAD + content)


@given(data=st.data())
def test_read_pickle_of_damaged_bytes_is_data_or_refused(data: st.DataObject) -> None:
    good = bytearray(
        pickle.dumps({"a": [1, (2, 3), {"b": collections.OrderedDict()}], "c": argparse.Namespace(x=1)}, 2)
    )
    for _ in range(3):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DataError):
        _read(bytes(good))


def test_read_pickle_memo_index_costs_no_memory() -> None:
    assert _read(_HEAD + b"Nr" + struct.pack("<I", 0x7FFF_FFFF) + b".") is None


def test_read_pickle_deep_nesting_is_no_crash() -> None:
    depth = 200_000
    value = _read(_HEAD + b")" + b"\x85" * depth + b".")
    assert isinstance(value, tuple)
    del value  # freed without recursion
    with pytest.raises(DataError, match="neither text nor number"):
        _read(_HEAD + b"}(" + b")" + b"\x85" * depth + b"K\x01u.")


def test_read_pickle_bounds_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inert, "MAX_INSTRUCTIONS", 100)
    with pytest.raises(DataError, match="more than 100 instructions"):
        _read(pickle.dumps(list(range(1000)), 2))


def test_shared_modules_cannot_multiply() -> None:
    """Thirty levels of a module that holds its child twice: 2**30 paths in a few hundred bytes."""
    level = b"cmodels.common\nConv\n)\x81}X\x08\x00\x00\x00_modules}sb"
    for _ in range(30):
        level += (  # memoised, then a parent whose children a and b are both the memoised one
            b"q\x00cmodels.common\nConv\n)\x81}X\x08\x00\x00\x00_modules}"
            b"(X\x01\x00\x00\x00ah\x00X\x01\x00\x00\x00bh\x00usb"
        )
    model = _read(_HEAD + level + b".")
    assert isinstance(model, Record)
    started = time.monotonic()
    with pytest.raises(DataError, match="modules; refused"):
        list(records(model))
    assert time.monotonic() - started < 30


def test_long_module_names_cannot_multiply() -> None:
    """A hundred modules within each other, each by the same name of a hundred thousand letters."""
    model = Record(Name("models.common", "Conv"), ())
    for _ in range(100):
        model = Record(Name("models.common", "Conv"), (), {"_modules": {"a" * 100_000: model}})
    with pytest.raises(DataError, match=r"a module or weight called 'aaa.*; refused") as caught:
        list(records(model))
    assert len(str(caught.value)) < 300


def test_zip_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", pickle.dumps({}, 2))
        archive.writestr("bomb/data/0", bytes(50_000_000))
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match="compressed"):
        read_checkpoint(path)


def test_tensor_larger_than_its_storage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "expanded.pt"
    save_checkpoint(path, checkpoint_of(lively(), names=["cat", "dog"]))
    content = torch.load(path, weights_only=True)
    content["model"]["model.0.conv.weight"] = torch.zeros(1).expand(16, 3, 6, 6)
    torch.save(content, path)
    with pytest.raises(DataError, match="reaches outside its storage"):
        read_checkpoint(path)
    content["model"]["model.0.conv.weight"] = torch.zeros(1).expand(1 << 40)
    torch.save(content, path)
    with pytest.raises(DataError, match=r"1 weights do not fit .*\(1099511627776,\), expected \(16, 3, 6, 6\)"):
        read_checkpoint(path)
