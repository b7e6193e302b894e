"""Says what an ONNX file is if it is no YOLOv5 detector, from its metadata and its last convolutions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import onnx

from edged.core.errors import DataError

_HEADS = 3
HEAD_COUNTS = (_HEADS, 4)  # of YOLOv5's models for 640, and of its P6 models for 1280 pixels
_SHOWN = 4
_DFL_CHANNELS = 64  # of a head for boxes in YOLOv8 and later: 4 sides, 16 bins each
_YOLOV5_ONLY = "edged-provision import --help names the families that are read"
_DETECTION = "export the detection model: boxes and classes are what edged reports"
# "Ultralytics YOLOv8n model trained on ...", as that package's exporter writes. Its "YOLOv5" is anchor-free, too.
ULTRALYTICS = re.compile(r"Ultralytics (\S{1,40}) model")
_TASKS = {"segment": "segmentation", "pose": "poses", "obb": "oriented boxes", "classify": "classification"}


def refuse_other_tasks(model: onnx.ModelProto) -> None:
    """Refuse files whose metadata say that they were made for another task than detection.

    Raises:
        DataError: they do.
    """
    said = {entry.key: entry.value for entry in model.metadata_props}
    named = ULTRALYTICS.search(said.get("description", ""))
    task = _TASKS.get(said.get("task", ""), "")
    if named and task:
        raise DataError(f"{named[1]} of Ultralytics, which its metadata say is for {task}", remedy=_DETECTION)


def not_yolov5(model: onnx.ModelProto, ends: Sequence[tuple[str, list[int]]]) -> DataError:
    """The error to raise for a graph whose last convolutions are not those of a YOLOv5 detector.

    Args:
        model: the graph.
        ends: name and weight shape (outputs, inputs, height, width) of the last convolution before each output.
    """
    channels = Counter(shape[0] for _, shape in ends if shape[2:] == [1, 1])
    equal, most = channels.most_common(1)[0] if channels else (0, 0)
    apart = len(ends) - most
    if most == _HEADS and apart == 1:
        what = f"a segmentation model: three heads of {equal} channels and one output of masks"
    elif len(ends) == 2 * _HEADS and channels[_DFL_CHANNELS] >= _HEADS:
        what = "YOLOv8 or later, or of its kind: boxes and classes have heads of their own and there is no objectness"
    elif len(ends) > _HEADS and channels[4] == len(ends) // len(channels) == _HEADS:
        what = "an anchor-free detector such as YOLOX or RTMDet: boxes and classes have heads of their own"
    elif len(ends) <= 1 and all(_rank(value) == 2 for value in model.graph.output):  # noqa: PLR2004 (B, classes)
        what = "a classifier: it gives one row of scores a picture"
    else:
        what = ""
    shown = ", ".join(f"{name} {shape}" for name, shape in ends[:_SHOWN]) + (", ..." if len(ends) > _SHOWN else "")
    found = (
        f"its outputs come from {len(ends)} convolutions ({shown or 'none'}), "
        f"expected {' or '.join(map(str, HEAD_COUNTS))} of 1x1 with equally many channels"
    )
    return DataError(
        f"not a supported YOLOv5 but {what} ({found})" if what else f"not a YOLOv5 detector: {found}",
        remedy=_YOLOV5_ONLY,
    )


def _rank(value: onnx.ValueInfoProto) -> int:
    return len(value.type.tensor_type.shape.dim)
