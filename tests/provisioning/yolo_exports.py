"""ONNX exports as YOLOv5's users have them: torch's own exporter, the decode inside, written from its description."""

from __future__ import annotations

import io
import warnings

import onnx
import torch
from torch import Tensor, nn

from provisioning.model.network import Yolov5


class WithDecode(nn.Module):
    """The network with boxes as its output: (B, N, 5+classes) in network pixels.

    Args:
        net: three heads.
        exponential: decode sizes as YOLOv3 does, exp(t) * anchor.
        descending: the head of the largest stride first.
    """

    def __init__(self, net: Yolov5, *, exponential: bool = False, descending: bool = False) -> None:
        super().__init__()
        self.net, self.exponential, self.descending = net, exponential, descending

    def forward(self, images: Tensor) -> Tensor:
        rows = []
        for head, anchors, stride in zip(self.net(images), self.net.anchors, self.net.strides, strict=False):
            batch, count, height, width, fields = head.shape
            y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
            cell = torch.stack((x, y), -1).float()
            score = head.sigmoid()
            sizes = head[..., 2:4].exp() if self.exponential else (score[..., 2:4] * 2) ** 2
            boxes = torch.cat(
                ((score[..., :2] * 2 - 0.5 + cell) * stride, sizes * anchors.view(1, count, 1, 1, 2), score[..., 4:]),
                -1,
            )
            rows.append(boxes.reshape(batch, -1, fields))
        return torch.cat(rows[::-1] if self.descending else rows, 1)


class Raw(nn.Module):
    """The network with its logits as outputs, (B, A, H, W, 5+classes) each."""

    def __init__(self, net: Yolov5) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        heads: tuple[Tensor, ...] = self.net(images)
        return heads


def exported(
    module: nn.Module, *, input_wh: tuple[int, int] = (96, 64), dynamic: bool = False, opset: int = 12, names: str = ""
) -> bytes:
    """torch's ONNX of a module; `names` becomes metadata."""
    file = io.BytesIO()
    axes = {"images": {0: "batch", 2: "height", 3: "width"}} if dynamic else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that YOLOv5 uses is deprecated and says so
        torch.onnx.export(
            module.eval(),
            (torch.rand(1, 3, input_wh[1], input_wh[0]),),
            file,  # type: ignore[arg-type]  # this exporter takes one, its annotation says otherwise
            dynamo=False,
            opset_version=opset,
            input_names=["images"],
            dynamic_axes=axes,
        )
    model = onnx.load_model_from_string(file.getvalue())
    if names:
        onnx.helper.set_model_props(model, {"names": names, "stride": "32"})
    content: bytes = model.SerializeToString()
    return content
