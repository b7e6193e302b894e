"""edged-provision import, export, list, show, activate, rollback: through the command line, on a real store."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
from onnx import helper

from edged.core.bundle import Bundle
from edged.core.decode import GridDecode
from edged.core.errors import DataError
from provisioning.__main__ import main
from provisioning.importing import read_names
from provisioning.model.network import build
from provisioning.model.torch_checkpoint import checkpoint_of, save_checkpoint
from tests.provisioning.checkpoints import save_official
from tests.provisioning.data.pictures import write_dataset
from tests.provisioning.networks import lively, short
from tests.provisioning.yolo_exports import Raw, WithDecode, exported

NAMES = ["cat", "dog"]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "best.pt"
    save_official(path, lively(), names=NAMES)
    return path


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGED_STORE", str(tmp_path / "models"))
    return tmp_path / "models"


def _import(weights: Path, name: str, *more: str) -> int:
    return main(["import", str(weights), "--name", name, "--size", "96x64", *more])


def test_import_makes_a_bundle_and_activates_the_first(
    weights: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _import(weights, "street") == 0
    said = capsys.readouterr().out
    assert "street: yolov5n of release 6.0 to 7.0, 2 classes, input 96x64" in said
    assert "licence: unknown" in said
    assert "active: street" in said
    manifest = Bundle.open(store / "active").manifest
    assert (manifest.classes, manifest.input_wh, manifest.provenance["weights"]) == (
        ("cat", "dog"),
        (96, 64),
        "best.pt",
    )
    assert _import(weights, "yard", "--licence", "CC0-1.0") == 0
    assert "not active; make it so with: edged-provision activate yard" in capsys.readouterr().out
    assert Bundle.open(store / "active").manifest.name == "street"
    assert Bundle.open(store / "yard").manifest.licence == "CC0-1.0"
    assert _import(weights, "yard", "--activate") == 0
    assert Bundle.open(store / "active").manifest.name == "yard"


def test_import_same_weights_same_bundle(weights: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digests = []
    for _ in range(2):
        assert _import(weights, "street", "--json") == 0
        digests.append(json.loads(capsys.readouterr().out)["digest"])
    assert digests[0] == digests[1]
    assert len([path for path in (store / ".objects").iterdir() if path.is_dir()]) == 1


def test_import_and_evaluate_on_a_machine_without_torch(weights: Path, store: Path, tmp_path: Path) -> None:
    code = "import sys; sys.modules['torch'] = None; import provisioning.__main__ as command; sys.exit(command.main())"
    data = write_dataset(tmp_path / "data", {"train/a": "", "val/b": "0 .5 .5 .2 .2\n"}, names="[cat, dog]")
    for command in (
        ["import", str(weights), "--name", "street", "--size", "96x64"],
        ["val", "--data", str(data), "--model", str(store / "street"), "--plots", str(tmp_path / "plots")],
    ):
        done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert Bundle.open(store / "street").manifest.classes == ("cat", "dog")
    assert list((tmp_path / "plots").glob("*.png"))


def test_import_own_checkpoint(tmp_path: Path, store: Path) -> None:
    save_checkpoint(tmp_path / "last.pt", checkpoint_of(lively(), names=NAMES, licence="Apache-2.0"))
    assert _import(tmp_path / "last.pt", "own") == 0
    manifest = Bundle.open(store / "own").manifest
    assert (manifest.licence, manifest.provenance["origin"]) == ("Apache-2.0", "edged")


def test_import_onnx_with_and_without_decode(tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "decode.onnx").write_bytes(exported(WithDecode(short())))
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    command = ["import", str(tmp_path / "decode.onnx"), "--name", "cut"]
    assert main(command) == 2
    assert "give --names FILE" in capsys.readouterr().err
    assert main([*command, "--names", str(tmp_path / "names.txt")]) == 0
    manifest = Bundle.open(store / "cut").manifest
    assert isinstance(manifest.decode, GridDecode)
    assert (manifest.classes, manifest.input_wh, manifest.decode.strides) == (("cat", "dog"), (96, 64), (8, 16, 32))
    (tmp_path / "raw.onnx").write_bytes(exported(Raw(short()), names="['cat', 'dog']"))
    command = ["import", str(tmp_path / "raw.onnx"), "--name", "raw"]
    assert main(command) == 2
    anchors = "10,13,16,30,33,23, 30,61,62,45,59,119, 116,90,156,198,373,326"
    assert main([*command, "--anchors", anchors]) == 0
    decode = Bundle.open(store / "raw").manifest.decode
    assert isinstance(decode, GridDecode) and decode.anchors[2][2] == (373.0, 326.0)


def test_class_names_with_control_characters_are_refused(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\n\x1b[31mdog\n")
    with pytest.raises(DataError, match=r"names\.txt: the name of class 1 holds a control character"):
        read_names(tmp_path / "names.txt")


def test_import_sends_no_controls_of_a_file_to_the_terminal(
    tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = onnx.load_model_from_string(exported(Raw(short()), names="['cat', 'dog']"))
    model.graph.node.append(helper.make_node("Nms", ["p3"], ["boxes"], "\x1b]0;owned\x07\x9b2J", domain="trt"))
    (tmp_path / "hostile.onnx").write_bytes(model.SerializeToString())
    assert _import(tmp_path / "hostile.onnx", "hostile") == 65
    assert r"node \x1b]0;owned\x07\x9b2J is trt::Nms" in capsys.readouterr().err
    assert not store.exists() or not list(store.glob("[!.]*"))


def test_class_names_are_read_as_windows_tools_write_them(tmp_path: Path) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "names.txt").write_text("Füße\r\n物体\r\n\r\n", encoding, newline="")
        assert read_names(tmp_path / "names.txt") == ("Füße", "物体")
    (tmp_path / "names.txt").write_text("a\n物体\n", "gbk")
    with pytest.raises(DataError, match=r"names\.txt: line 2 is not UTF-8: byte 0xce .*save the file as UTF-8"):
        read_names(tmp_path / "names.txt")


def test_import_goes_by_what_a_file_is(weights: Path, tmp_path: Path, store: Path) -> None:
    """People rename files, and hand over the YAML that their training had."""
    assert _import(weights.rename(tmp_path / "best.onnx"), "checkpoint") == 0
    (tmp_path / "decode.pt").write_bytes(exported(WithDecode(short())))
    (tmp_path / "data.yaml").write_text("train: x\nnames: {'1': dog, '0': cat}\n")
    assert _import(tmp_path / "decode.pt", "export", "--names", str(tmp_path / "data.yaml")) == 0
    assert Bundle.open(store / "export").manifest.classes == ("cat", "dog")


@pytest.mark.parametrize("channels", [1, 4])
def test_import_of_what_cannot_run_activates_nothing(tmp_path: Path, store: Path, channels: int) -> None:
    save_official(tmp_path / "gray.pt", build("n", classes=2, channels=channels), names=NAMES)
    assert _import(tmp_path / "gray.pt", "gray") == 65
    assert not store.exists() or not list(store.glob("[!.]*"))


def test_printed_commands_can_be_pasted(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "my models; rm"
    for name in ("a", "b"):
        assert _import(weights, name, "--store", str(store)) == 0
    printed = capsys.readouterr().out.rpartition("with: ")[2].strip()
    assert main(shlex.split(printed)[1:]) == 0
    assert Bundle.open(store / "active").manifest.name == "b"


def test_export_writes_a_file(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.onnx"
    assert main(["export", str(weights), "--size", "96x64", "--batch", "2", "--out", str(out)]) == 0
    assert "out.onnx" in capsys.readouterr().out
    shape = onnx.load(str(out)).graph.input[0].type.tensor_type.shape
    assert [dim.dim_value for dim in shape.dim] == [2, 3, 64, 96]
    assert main(["export", str(weights), "--size", "96x64", "--out", str(tmp_path / "none" / "out.onnx")]) == 70


def test_list_show_activate_rollback(weights: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    assert f"no bundle in {store}" in capsys.readouterr().out
    for name in ("street", "yard"):
        assert _import(weights, name) == 0
    assert main(["activate", "yard"]) == 0
    capsys.readouterr()
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[::2][:2] for line in lines] == [["street", "previous"], ["yard", "active"]]
    assert main(["list", "--json"]) == 0
    assert [entry["active"] for entry in json.loads(capsys.readouterr().out)] == [False, True]
    assert main(["show"]) == 0
    shown = capsys.readouterr().out
    assert "10x13  16x30  33x23" in shown
    assert "output  p5 float [batch, 21, 2, 3]" in shown
    assert main(["show", str(store / "street"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["manifest"]["name"] == "street"
    assert main(["rollback"]) == 0
    assert Bundle.open(store / "active").manifest.name == "street"


def test_list_survives_a_damaged_bundle(weights: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("street", "yard"):
        assert _import(weights, name) == 0
    (store / "street").resolve().joinpath("manifest.json").write_text("{")
    capsys.readouterr()
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "damaged" in lines[0]
    assert "yolov5n 96x64" in lines[1]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        pytest.param(["import", "none.pt", "--name", "x"], 65, "none.pt: cannot be read: No such file", id="no file"),
        pytest.param(["import", "none.pt", "--name", "a/b"], 2, "cannot name a bundle", id="name"),
        pytest.param(["import", "best.pt", "--name", "x", "--size", "100"], 2, "take 96x96 or 128x128", id="size"),
        pytest.param(["import", "best.pt", "--name", "x", "--names", "n.txt"], 65, "n.txt cannot be read", id="names"),
        pytest.param(["import", "best.pt", "--name", "x", "--anchors", "1"], 2, "for ONNX", id="anchors"),
        pytest.param(["import", "page.pt", "--name", "x"], 65, "web page", id="html"),
        pytest.param(["import", "page.onnx", "--name", "x"], 65, "no ONNX file", id="html as onnx"),
        pytest.param(["activate", "x"], 2, "no bundle named x", id="unknown"),
        pytest.param(["rollback"], 2, "no earlier bundle", id="nothing before"),
        pytest.param(["show"], 78, "cannot be opened", id="nothing active"),
        pytest.param(["show", "./page.pt"], 65, "not a model bundle but a file", id="no bundle"),
        pytest.param(["import", "best.pt", "--name", "x", "--store", "page.pt/m"], 70, "cannot be made", id="store"),
    ],
)
def test_command_refuses_in_one_line(
    weights: Path,
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: Sequence[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(weights.parent)
    for page in ("page.pt", "page.onnx"):
        Path(page).write_text("<!DOCTYPE html><html></html>")
    assert main(list(arguments)) == code
    error = capsys.readouterr().err
    assert error.startswith("edged-provision: error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not store.exists() or not list(store.glob("[!.]*"))


@pytest.mark.parametrize("text", ["640x", "axb", "640x384x3", "-1", ""])
def test_size_refuses(weights: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    assert main(["import", str(weights), "--name", "x", f"--size={text}"]) == 2
    assert "expected 640 or 640x384" in capsys.readouterr().err


def test_help_is_light_and_every_command_has_one() -> None:
    code = (
        "import sys\nfrom provisioning.__main__ import main\n"
        "main(['--help'])\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'cv2', 'tensorrt', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("import", "export", "list", "show", "activate", "rollback"):
        assert f"\n    {command} " in done.stdout


def test_output_to_a_reader_that_left_is_no_error(store: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "provisioning", "list", "--store", str(store)]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_interrupt_ends_with_130_and_leaves_no_bundle(tmp_path: Path, store: Path) -> None:
    pipe = tmp_path / "slow.onnx"  # reading it blocks until somebody writes
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "provisioning", "import", str(pipe), "--name", "x"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        descriptor = os.open(pipe, os.O_WRONLY)  # returns when the command has opened its end
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        error = process.stderr.read()
        os.close(descriptor)
        assert process.wait(30) == 130
    assert error == "edged-provision: interrupted\n"
    assert not store.exists()


def test_import_official_weights(test_data: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = test_data / "weights" / "yolov5n.pt"
    assert main(["import", str(path), "--name", "n", "--size", "320"]) == 0
    assert "licence: AGPL-3.0" in capsys.readouterr().out
    manifest = Bundle.open(store / "n").manifest
    assert manifest.provenance["trained"].startswith("2022-02-08")
