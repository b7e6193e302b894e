"""Official-looking checkpoints made by the tests: pickled classes of the names that YOLOv5 has, never its code."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from provisioning.model.blocks import Bottleneck
from provisioning.model.network import Yolov5

COMMON = ("Conv", "Bottleneck", "C3", "SPPF", "SPP", "Focus", "Concat", "BottleneckCSP")
YOLO = ("Model", "DetectionModel", "SegmentationModel", "ClassificationModel", "Detect", "Segment")


@contextmanager
def foreign_classes() -> Iterator[Callable[[str], type[nn.Module]]]:
    """Modules `models.common` and `models.yolo` with empty classes, as long as the block lasts."""
    package, modules = ModuleType("models"), {}
    for module_name, names in (("models.common", COMMON), ("models.yolo", YOLO)):
        module = ModuleType(module_name)
        for name in names:
            setattr(module, name, type(name, (nn.Module,), {"__module__": module_name, "__qualname__": name}))
        modules[module_name] = module
    before = {name: sys.modules.get(name) for name in ("models", *modules)}
    sys.modules.update({"models": package, **modules})

    def lookup(name: str) -> type[nn.Module]:
        found: type[nn.Module] = getattr(modules["models.common" if name in COMMON else "models.yolo"], name)
        return found

    try:
        yield lookup
    finally:
        for name, original in before.items():
            if original is None:
                del sys.modules[name]
            else:
                sys.modules[name] = original


def save_official(
    path: Path,
    net: Yolov5,
    *,
    names: object,
    half: bool = True,
    model_class: str = "DetectionModel",
    ema: Yolov5 | None = None,
    change: Callable[[nn.Module], None] = lambda _: None,
) -> None:
    """Write `net` as YOLOv5 itself would: the pickled model, anchors in cells, half precision.

    Args:
        path: the file.
        net: its weights and architecture; not changed.
        names: class names, list or dictionary.
        half: in half precision, as official ones are.
        model_class: of the pickled model.
        ema: smoothed weights beside them, as in an interrupted training.
        change: alters the pickled model first.
    """
    with foreign_classes() as lookup:
        models = [_official_model(each, names, lookup, model_class) if each else None for each in (net, ema)]
        for model in models:
            if model is not None:
                change(model)
                model.to(torch.float16 if half else torch.float32)
        content = {"epoch": -1, "ema": models[1], "model": models[0], "optimizer": None, "date": "2021-04-12T10:00:00"}
        torch.save(content, path)


def _official_model(
    net: Yolov5, names: object, lookup: Callable[[str], type[nn.Module]], model_class: str
) -> nn.Module:
    model = lookup(model_class)()
    model.model = nn.Sequential(*(_disguised(layer, lookup) for layer in copy.deepcopy(net).model))
    detect = model.model[-1]
    strides = torch.tensor(net.strides, dtype=torch.float32)
    detect.register_buffer("anchors", net.anchors / strides[:, None, None])
    if net.description.release == "5":
        detect.register_buffer("anchor_grid", net.anchors.reshape(3, 1, -1, 1, 1, 2))
    for target, attributes in (
        (detect, {"nc": net.classes, "stride": strides}),
        (model, {"names": names, "stride": strides, "yaml": {"nc": net.classes}}),
    ):
        for name, value in attributes.items():
            setattr(target, name, value)
    return model


def _disguised(module: nn.Module, lookup: Callable[[str], type[nn.Module]]) -> nn.Module:
    """The same module tree under the foreign class names; torch's own modules stay as they are."""
    kind = type(module)
    if kind.__module__.startswith("torch."):
        for name, child in module.named_children():
            setattr(module, name, _disguised(child, lookup))
        return module
    twin = lookup(kind.__name__)()
    for name, child in module.named_children():
        setattr(twin, name, _disguised(child, lookup))
    if isinstance(module, Bottleneck):
        twin.__dict__["add"] = module.add
    return twin
