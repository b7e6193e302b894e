"""A model of kind `list` through the public commands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from edged.core.bundle import MODEL
from edged.core.errors import BundleMismatch
from edged.core.manifest import EngineRecord
from edged.gpu.tensorrt import installed
from provisioning.__main__ import main
from provisioning.build.bundle_engine import add_engine
from provisioning.build.maker import DecodeBy
from provisioning.store import Store
from tests.boxes import Box, run_edged
from tests.brokers import Broker, Subscriber, free_port, wait_for
from tests.handmade import CLASSES, draw_square
from tests.handmade_list import fixed_rows_model, list_manifest, list_model, write_list_bundle


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_list_bundle(tmp_path_factory.mktemp("model") / "squares-list")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    image = np.full((320, 320, 3), 110, np.uint8)
    draw_square(image, "red", 64, 80)
    draw_square(image, "blue", 192, 208)
    cv2.imwrite(str(tmp_path / "in.png"), image)
    return tmp_path / "in.png"


def test_detect_reports_the_boxes_of_the_list(tmp_path: Path, model: Path, picture: Path) -> None:
    done = run_edged("detect", picture, "--model", model, "--jsonl", tmp_path / "out.jsonl")
    assert done.returncode == 0, done.stderr
    (message,) = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    found = {each["label"]: each for each in message["detections"]}
    assert found.keys() == {"red", "blue"}
    assert found["blue"]["confidence"] > 0.99
    assert found["red"]["box"] == pytest.approx([64, 80, 128, 144], abs=0.01)


def test_detect_says_what_a_damaged_list_gives(tmp_path: Path, picture: Path) -> None:
    rows = np.array([[1, 2, 30, 40, 7.5, 2]], np.float32)
    model = write_list_bundle(tmp_path / "logits", fixed_rows_model(rows), input_wh=(64, 64))
    done = run_edged("detect", picture, "--model", model)
    assert (done.returncode, done.stdout) == (65, "")
    assert "self-test on a grey picture gave scores outside 0..1" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_names_the_model(tmp_path: Path, model: Path) -> None:
    config = tmp_path / "edged.toml"
    lines = (f'[model]\nbundle = "{model}"', '[mqtt]\nhost = "127.0.0.1"\nport = 1', '[[camera]]\nname = "gate"')
    config.write_text("\n".join((*lines, 'source = "test:"\n')))
    done = run_edged("check", "--config", config)
    assert "squares-list (Apache-2.0), 3 classes, 320x320" in done.stdout + done.stderr


@pytest.fixture
def store(tmp_path: Path) -> Store:
    content = list_model()
    made = Store(tmp_path / "store")
    made.add(list_manifest(content), {MODEL: content})
    made.activate("squares-list")
    return made


def run(store: Store, *words: str) -> int:
    return main([*words, "--store", str(store.root)])


def test_show_and_list_say_what_it_is(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(store, "show") == 0
    assert "boxes     finished, as handmade gives them: no anchors, no NMS" in capsys.readouterr().out
    assert run(store, "show", "--json") == 0
    decode = json.loads(capsys.readouterr().out)["manifest"]["decode"]
    assert decode == {"family": "handmade", "kind": "list"}
    assert run(store, "list") == 0
    assert "handmade-list 320x320, 3 classes" in capsys.readouterr().out


def test_val_finds_every_square(store: Store, tmp_path: Path) -> None:
    for kind in ("images", "labels"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    for number, colour in enumerate((*CLASSES, *CLASSES)):
        image = np.full((320, 320, 3), 110, np.uint8)
        left, top = 16 * (2 + number), 16 * (9 - number)
        draw_square(image, colour, left, top)
        cv2.imwrite(str(tmp_path / f"data/images/{number}.png"), image)
        box = f"{CLASSES.index(colour)} {(left + 32) / 320} {(top + 32) / 320} .2 .2\n"
        (tmp_path / f"data/labels/{number}.txt").write_text(box)
    data, figures = tmp_path / "data" / "data.yaml", tmp_path / "figures.json"
    data.write_text(f"path: {data.parent}\ntrain: images\nval: images\nnames: [{', '.join(CLASSES)}]\n")
    command = ("val", "--data", str(data), "--model", str(store.root / "squares-list"), "--json", str(figures))
    assert main([*command]) == 0
    assert json.loads(figures.read_text())["map50_95"] > 0.99


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(("quantize", "--frames", "none"), "is not quantised to INT8: models that give a list", id="int8"),
        pytest.param(("patch",), "gives finished boxes (handmade): there is nothing to decode; build it", id="patch"),
    ],
)
def test_what_a_list_is_not_made_for_is_refused(
    store: Store, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert run(store, words[0], "squares-list", *words[1:]) == 78
    assert f"squares-list {said}" in capsys.readouterr().err


def test_verify_does_not_advise_to_quantise_it(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pictures").mkdir()
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 256, (64, 64, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"pictures/{number}.png"), noise)
    frames = str(tmp_path / "frames")
    counts = ("--count", "2", "--verification", "2", "--out", frames)
    assert main(["sample", str(tmp_path / "pictures"), *counts]) == 0
    assert run(store, "verify", "squares-list", "--frames", frames) == 2
    said = capsys.readouterr().err
    assert "there is nothing to compare it with; run on the device: edged-provision build" in said


def test_the_daemon_publishes_what_it_finds(tmp_path: Path, picture: Path) -> None:
    port = free_port()
    box = Box(tmp_path, port, cameras={"gate": {"source": str(picture), "loop": True, "fps": 5}})
    write_list_bundle(box.model)
    broker = Broker(tmp_path, port).start()
    try:
        with Subscriber(port) as subscriber, box:
            topic = "edged/box/gate/detections"
            wait_for(lambda: subscriber.payloads(topic), timeout_s=20, what="detections")
            found = json.loads(subscriber.last(topic))["detections"]
    finally:
        broker.kill()
    assert sorted(each["label"] for each in found) == ["blue", "red"]


class FakeMaker:
    """A machine that builds engines, with the plugin inside where there is a choice."""

    typed = False
    facts: Mapping[str, str] = {}
    runs_here = True
    title = "TensorRT 10.3.0"
    passed_over = ""

    def __init__(self, decode: DecodeBy) -> None:
        self.decode = decode

    def warning(self, precision: str) -> str:
        return precision[:0]

    def without_plugin(self) -> FakeMaker:
        return FakeMaker("kernel")

    def build(
        self, model: Path, folder: Path, *, precision: str, batch: tuple[int, int, int], workspace_mb: int
    ) -> EngineRecord:
        assert [output.name for output in onnx.load(str(model)).graph.output] == ["rows"]
        (folder / "engine.plan").write_bytes(str(workspace_mb).encode())
        return EngineRecord("engine.plan", "10.3.0", "Fake", "8.7", precision, self.decode, "", batch)


def test_an_engine_is_built_of_the_graph_as_it_is(store: Store) -> None:
    bundle = store.open("squares-list")
    maker = FakeMaker("plugin")
    made = add_engine(store, bundle, maker, precision="fp16", batch=(1, 1, 2), workspace_mb=64)
    assert [engine.decode for engine in made.manifest.engines] == ["kernel"]
    assert set(made.manifest.files) == {MODEL, "engine.plan"}
    with pytest.raises(BundleMismatch, match="not quantised to INT8"):
        add_engine(store, made, maker, precision="int8", batch=(1, 1, 2), workspace_mb=64)


@pytest.mark.skipif("rtx" not in installed(), reason="TensorRT for RTX is not installed")
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_real_tensorrt_builds_it(store: Store, precision: str) -> None:
    command = ("build", "squares-list", "--precision", precision, "--tensorrt", "rtx", "--gpus", "8.6")
    assert run(store, *command) == 0
    (engine,) = store.open("squares-list").manifest.engines
    assert (engine.precision, engine.decode, engine.capabilities) == (precision, "kernel", ("8.6",))
