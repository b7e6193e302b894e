"""What the real TensorRT for RTX does, in a process of its own: `rtx_child.py WORK FOLDER`; what it saw as JSON lines.

The stubs of other tests hold symbols that it would take for its own, and a plugin that it cannot place ends a process.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

import onnx

from edged.core.errors import EdgedError
from edged.gpu.engine import TensorRtEngine
from edged.gpu.tensorrt import TensorRt, load
from provisioning.build.log import BuildLog
from provisioning.build.tensorrt_build import Order, build
from provisioning.patch import patch
from tests.gpu.host_gpu import HostGpu
from tests.handmade import CLASSES, DECODE

ALL = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
BATCH = (1, 2, 4)


def say(**facts: Any) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")


def built(rtx: TensorRt, name: str, model: bytes, *, capabilities: tuple[str, ...] = ALL) -> bytes:
    """Build one graph and say how that went."""
    log, steps = BuildLog(), list[tuple[str, int, int]]()
    order = Order("as typed", BATCH, 1 << 30, capabilities=capabilities)
    try:
        plan = build(rtx, model, order, log, lambda *step: steps.append(step)).plan
    except EdgedError as exc:
        say(name=name, error=str(exc), log=log.lines)
        return b""
    say(name=name, bytes=len(plan), phases=sorted({step[0] for step in steps}), steps=len(steps), log=log.lines)
    return plan


def graphs(rtx: TensorRt, folder: Path) -> None:
    """Every graph of a folder, by its name."""
    for path in sorted(folder.glob("*.onnx")):
        built(rtx, path.stem, path.read_bytes())


def graphs_for_one_card(rtx: TensorRt, folder: Path) -> None:
    """The same, sooner."""
    for path in sorted(folder.glob("*.onnx")):
        built(rtx, path.stem, path.read_bytes(), capabilities=("8.6",))


def plans(rtx: TensorRt, folder: Path) -> None:
    """A plan loaded whole and damaged in four ways, on a machine without a driver."""
    logging.disable()
    plan = built(rtx, "plan", (folder / "squares.onnx").read_bytes(), capabilities=("8.6",))
    flipped = bytearray(plan)
    flipped[8:40] = bytes(32)
    damaged = {"whole": plan, "cut": plan[: len(plan) // 2], "garbage": b"x" * 4096, "empty": b"", "header": flipped}
    for name, content in damaged.items():
        try:
            TensorRtEngine(rtx, bytes(content), HostGpu(), where="engine.plan")
        except EdgedError as exc:
            say(name=name, error=str(exc), kind=type(exc).__name__)
        else:
            say(name=name, error="")


def plugin(rtx: TensorRt, folder: Path) -> None:
    """Our YoloLayer_TRT in a real parser and builder, and what happens where it does not belong."""
    sys.modules["tensorrt"] = rtx.module
    from plugins.yolo_layer import plugin as ours

    calls: list[tuple[str, Any]] = []
    watch(ours.YoloLayerPlugin, calls)
    creator: Any = ours.YoloLayerCreator
    make = creator.create_plugin

    def create(self: Any, name: str, fields: Any, phase: Any) -> Any:
        seen = {field.name: [float(each) for each in field.data] for field in fields if field.name in ours.FIELDS}
        calls.append(("create_plugin", seen))
        return make(self, name, fields, phase)

    creator.create_plugin = create
    ours.register(lambda launch, _stream: calls.append(("launch", launch.kernel)))
    model = onnx.load(str(folder / "squares.onnx"))
    fitting = patch(model, decode=DECODE, num_classes=len(CLASSES), prenms_score_threshold=0.001)
    built(rtx, "fits", fitting.SerializeToString())
    say(name="calls", calls=calls)
    built(rtx, "four heads", (folder / "four.onnx").read_bytes())
    for name, spoil in SPOILED.items():
        wrong = onnx.ModelProto()
        wrong.CopyFrom(fitting)
        spoil(wrong.graph.node[-1])
        built(rtx, name, wrong.SerializeToString())


def watch(kind: Any, calls: list[tuple[str, Any]]) -> None:
    """Note every call of TensorRT's into the plugin, with the shapes that it brings."""

    def noted(name: str) -> Callable[..., Any]:
        real = getattr(kind, name)

        def call(self: Any, *arguments: Any) -> Any:
            calls.append((name, shapes(arguments[0]) if name in {"configure_plugin", "get_workspace_size"} else None))
            return real(self, *arguments)

        return call

    for name in (
        "get_output_data_types", "get_output_shapes", "clone", "supports_format_combination", "configure_plugin",
        "get_workspace_size", "get_fields_to_serialize", "enqueue", "on_shape_change", "set_tactic",
        "attach_to_context",
    ):  # fmt: skip
        setattr(kind, name, noted(name))


def shapes(inputs: Any) -> list[list[list[int]]]:
    return [[list(head.min), list(head.opt), list(head.max)] for head in inputs]


def _drop(name: str) -> Callable[[onnx.NodeProto], None]:
    def spoil(node: onnx.NodeProto) -> None:
        kept = [attribute for attribute in node.attribute if attribute.name != name]
        del node.attribute[:]
        node.attribute.extend(kept)

    return spoil


def _rename(node: onnx.NodeProto) -> None:
    node.op_type = "NoSuchLayer_TRT"


def _other_classes(node: onnx.NodeProto) -> None:
    next(attribute for attribute in node.attribute if attribute.name == "num_classes").i = 7


SPOILED = {"missing attribute": _drop("anchors"), "unknown operator": _rename, "wrong classes": _other_classes}

if __name__ == "__main__":
    {each.__name__: each for each in (graphs, graphs_for_one_card, plans, plugin)}[sys.argv[1]](
        load("rtx"), Path(sys.argv[2])
    )
