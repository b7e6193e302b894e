"""Exports that do more than the network: what they do to the picture and to the scores is never dropped silently."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from edged.core.errors import DataError, UsageError
from provisioning.cut.heads import cut_at_heads
from provisioning.model.description import COCO_ANCHORS
from tests.provisioning.networks import lively, short
from tests.provisioning.yolo_exports import BoxesAndScores, Raw, WithDecode, exported, suppressed

NAMES = "['cat', 'dog']"
FLAT = [side for head in COCO_ANCHORS for anchor in head for side in anchor]
SWAPPED = [0, 1, 2, 3, 4, 6, 5]


class _Around(nn.Module):
    """A module with something done to its input and to its outputs."""

    def __init__(
        self,
        inner: nn.Module,
        *,
        before: Callable[[Tensor], Tensor] = lambda images: images,
        behind: Callable[[Tensor], Tensor] = lambda table: table,
    ) -> None:
        super().__init__()
        self.inner, self.before, self.behind = inner, before, behind

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        made = self.inner(self.before(images))
        return self.behind(made) if isinstance(made, Tensor) else tuple(map(self.behind, made))


def _normalised(images: Tensor) -> Tensor:
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 1, 3, 1, 1)
    normalised: Tensor = (images - mean) / deviation
    return normalised


@pytest.mark.parametrize(
    ("before", "kinds"),
    [
        pytest.param(lambda images: images / 255, "Div", id="0..255"),
        pytest.param(lambda images: images[:, [2, 1, 0]], "Gather", id="BGR"),
        pytest.param(lambda images: images.flip(1), "Slice", id="BGR, flipped"),
        pytest.param(lambda images: torch.cat(images.split(1, 1)[::-1], 1), "Concat, Split", id="BGR, joined"),
        pytest.param(_normalised, "Div, Sub", id="mean and deviation"),
        pytest.param(lambda images: images.flip(3), "Slice", id="mirrored"),
    ],
)
@pytest.mark.parametrize("raw", [False, True], ids=["decode", "raw"])
def test_a_picture_changed_in_front_of_the_network_is_refused(
    before: Callable[[Tensor], Tensor], kinds: str, *, raw: bool
) -> None:
    """The daemon hands over RGB of 0..1: the network would see other colours than the file was made for."""
    module = _Around(Raw(short()) if raw else WithDecode(short()), before=before)
    content = exported(module, opset=13, names=NAMES)
    with pytest.raises(DataError, match=rf"changes the picture in front of its first convolution \({kinds}\)"):
        cut_at_heads(content, anchors=FLAT if raw else ())


def test_colours_exchanged_behind_focus_are_refused() -> None:
    net = lively(release="5")
    content = exported(_Around(WithDecode(net), before=lambda images: images.flip(1)), names=NAMES)
    with pytest.raises(DataError, match="changes the picture"):
        cut_at_heads(content)


def test_padding_apart_from_its_convolution_is_part_of_the_network() -> None:
    model = onnx.load_model_from_string(exported(WithDecode(short()), names=NAMES))
    stem = next(node for node in model.graph.node if node.op_type == "Conv")
    pads = next(attribute for attribute in stem.attribute if attribute.name == "pads")
    top, left, bottom, right = pads.ints
    sides = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
    model.graph.initializer.append(numpy_helper.from_array(sides, "sides"))
    model.graph.node.insert(0, helper.make_node("Pad", [stem.input[0], "sides"], ["padded"]))
    stem.input[0] = "padded"
    pads.ints[:] = [0, 0, 0, 0]
    assert cut_at_heads(model.SerializeToString()).names == ("cat", "dog")


def _behind(module: nn.Module, change: Callable[[Tensor], Tensor]) -> bytes:
    return exported(_Around(module, behind=change), names=NAMES)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda net: _behind(WithDecode(net), lambda t: t[..., SWAPPED]), id="classes swapped"),
        pytest.param(lambda net: suppressed(_behind(WithDecode(net), lambda t: t[..., SWAPPED])), id="before NMS"),
        pytest.param(
            lambda net: _behind(WithDecode(net), lambda t: t * torch.tensor([1, 1, 1, 1, 1, 0.5, 0.5])), id="halved"
        ),
        pytest.param(
            lambda net: _behind(BoxesAndScores(net), lambda t: t.flip(1) if t.shape[1] == 2 else t), id="scores apart"
        ),
    ],
)
def test_scores_changed_behind_the_decode_are_refused(content: Callable[[nn.Module], bytes]) -> None:
    with pytest.raises(DataError, match=r"other scores, or its classes in another order"):
        cut_at_heads(content(short()))


def test_classes_swapped_behind_raw_heads_are_refused() -> None:
    content = exported(_Around(Raw(short()), behind=lambda head: head[..., SWAPPED]), names=NAMES)
    with pytest.raises(DataError, match="neither YOLOv5's heads nor its boxes"):
        cut_at_heads(content, anchors=FLAT)


def test_classes_swapped_inside_the_decode_show_in_the_smallest_scores() -> None:
    """A network that is sure to see nothing, as trained ones are of noise."""
    net = short()
    with torch.no_grad():
        for conv in net.detect.m:
            bias = conv.bias
            assert isinstance(bias, Tensor)
            bias.view(3, 7)[:, 5:] = -11
    model = onnx.load_model_from_string(exported(WithDecode(net), names=NAMES))
    model.graph.initializer.append(helper.make_tensor("swapped", TensorProto.INT64, [7], SWAPPED))
    for node in [node for node in model.graph.node if node.op_type == "Sigmoid" and "Transpose" in node.input[0]]:
        name = node.output[0]
        node.output[0] = f"{name}/straight"
        place = list(model.graph.node).index(node) + 1
        model.graph.node.insert(place, helper.make_node("Gather", [node.output[0], "swapped"], [name], axis=-1))
    content = model.SerializeToString()
    assert content.count(b"/straight") >= 3
    with pytest.raises(DataError, match="its decode is not YOLOv5's"):
        cut_at_heads(content)


def test_cells_that_are_not_square_are_refused() -> None:
    net = short()
    stem = net.get_submodule("model.0.conv")
    assert isinstance(stem, nn.Conv2d)
    stem.stride = (2, 1)
    with pytest.raises(DataError, match=r"heads of 24x8, .* for a picture of 96x64: cells must be square"):
        cut_at_heads(exported(Raw(net), names=NAMES), anchors=FLAT)


@pytest.mark.parametrize(
    "stated", ["none", "null", "7", "[1, 2]", '[[["a", 1]]]', "[[[NaN, 1]]]", "[[[-1, 1]]]", "[" * 100_000]
)
def test_anchors_that_other_tools_stated_are_asked_for(stated: str) -> None:
    model = onnx.load_model_from_string(exported(Raw(short()), names=NAMES))
    helper.set_model_props(model, {"names": NAMES, "anchors": stated})
    with pytest.raises(UsageError, match="give --anchors with 18 numbers"):
        cut_at_heads(model.SerializeToString())


def test_channels_last_is_named() -> None:
    model = onnx.load_model_from_string(exported(Raw(short()), names=NAMES))
    model.graph.node.insert(0, helper.make_node("Transpose", ["images"], ["first"], perm=[0, 3, 1, 2]))
    next(node for node in model.graph.node if node.op_type == "Conv").input[0] = "first"
    shape: list[str | int | None] = ["batch", "height", "width", 3]
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("images", TensorProto.FLOAT, shape))
    with pytest.raises(DataError, match=r"got images \[0, 0, 0, 3\], channels last"):
        cut_at_heads(model.SerializeToString())
