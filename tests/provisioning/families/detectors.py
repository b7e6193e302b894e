"""Small random detectors of other families, as their exporters write them: from papers and the layout of real files."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STRIDES = (8, 16, 32)


class Backbone(nn.Module):
    """Feature maps of strides 8, 16, 32 and so on, of `width` channels each."""

    def __init__(self, levels: int = 3, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.SiLU())
        self.steps = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8 if index == 0 else width, width, 3, 2, 1), nn.SiLU()) for index in range(levels)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        x, maps = self.stem(images), []
        for step in self.steps:
            x = step(x)
            maps.append(x)
        return maps


class Detector(nn.Module):
    """A backbone, and for each level one convolution for each kind of value.

    Args:
        channels: by kind, in the order in which the family joins them.
        brightest: value of white in its pictures.
        spread: of the weights of the heads, so that boxes and scores differ from cell to cell.
        levels: of the pyramid.
    """

    def __init__(
        self, channels: dict[str, int], *, seed: int = 3, spread: float = 12.0, brightest: float = 1.0, levels: int = 3
    ) -> None:
        super().__init__()
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.backbone = Backbone(levels)
            self.heads = nn.ModuleList(
                nn.ModuleDict({kind: nn.Conv2d(16, count, 1) for kind, count in channels.items()})
                for _ in range(levels)
            )
            self.backbone.stem[0].weight.div_(brightest)  # type: ignore[operator]
            for head in self.heads:
                for conv in head.children():
                    nn.init.normal_(conv.weight, std=spread / 16)  # type: ignore[arg-type]
        self.channels = channels

    def maps(self, images: Tensor) -> list[dict[str, Tensor]]:
        """For each level the values of each kind, (B, C, H, W)."""
        return [
            {kind: head[kind](x) for kind in self.channels}  # type: ignore[index]
            for head, x in zip(self.heads, self.backbone(images), strict=True)
        ]


def points(x: Tensor, offset: float) -> Tensor:
    """(2, H * W): column and row of each cell of a map, plus `offset`."""
    height, width = x.shape[2:]
    y, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack((column, y)).flatten(1).float() + offset


class Yolox(Detector):
    """Ge et al. 2021: (B, N, 5 + classes); box values as they are, or decoded to centre and size in pixels."""

    def __init__(self, classes: int, *, decoded: bool = False, seed: int = 3) -> None:
        super().__init__({"box": 4, "objectness": 1, "classes": classes}, seed=seed, spread=4.0, brightest=255)
        self.decoded = decoded

    def forward(self, images: Tensor) -> Tensor:
        rows = []
        for stride, values in zip(STRIDES, self.maps(images), strict=True):
            joined = torch.cat((values["box"], values["objectness"].sigmoid(), values["classes"].sigmoid()), 1)
            flat = joined.flatten(2)
            if self.decoded:
                centre = (flat[:, :2] + points(joined, 0.0)) * stride
                flat = torch.cat((centre, flat[:, 2:4].exp() * stride, flat[:, 4:]), 1)
            rows.append(flat)
        return torch.cat(rows, 2).permute(0, 2, 1)


class Distances(Detector):
    """YOLOv8's head: distributions of 16 bins a side; (B, 4 + classes, N), centre and size in pixels, scores.

    Args:
        classes: number of them.
        bins: of each side; 0: the sides themselves, as in heads without distributions.
        behind: changes the scores (B, classes, N) behind the heads.
    """

    def __init__(self, classes: int, *, bins: int = 16, seed: int = 3, swap: bool = False) -> None:
        super().__init__({"box": 4 * (bins or 1), "classes": classes}, seed=seed)
        self.bins, self.swap = bins, swap
        self.register_buffer("numbers", torch.arange(max(bins, 1)).float().view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        values = self.maps(images)
        if not self.bins:
            values = [{**each, "box": each["box"].abs()} for each in values]
        flat = torch.cat([torch.cat((each["box"], each["classes"]), 1).flatten(2) for each in values], 2)
        box, classes = torch.split(flat, [self.channels["box"], self.channels["classes"]], 1)
        if self.bins:
            shape = box.view(box.shape[0], 4, self.bins, -1).transpose(1, 2).softmax(1)
            box = nn.functional.conv2d(shape, self.numbers.view(1, -1, 1, 1)).squeeze(1)  # type: ignore[operator]
        point = torch.cat([points(each["box"], 0.5) for each in values], 1)
        stride = torch.cat(
            [
                torch.full((each["box"].shape[2] * each["box"].shape[3],), float(t))
                for each, t in zip(values, STRIDES, strict=True)
            ]
        )
        near, far = box.chunk(2, 1)
        first, last = point - near, point + far
        boxes = torch.cat(((first + last) / 2, last - first), 1) * stride
        scores = classes.sigmoid()
        return torch.cat((boxes, scores.flip(1) if self.swap else scores), 1)


class OtherTask(Distances):
    """YOLOv8's head with values for another task behind the scores, and mask prototypes where it is segmentation."""

    def __init__(self, extra: int, *, prototypes: bool = False) -> None:
        super().__init__(3)
        self.extra = nn.ModuleList(nn.Conv2d(16, extra, 1) for _ in STRIDES)
        self.prototypes = nn.Conv2d(8, 32, 1) if prototypes else None

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:  # type: ignore[override]
        maps = self.backbone(images)
        extra = torch.cat([conv(x).flatten(2) for conv, x in zip(self.extra, maps, strict=True)], 2)
        joined = torch.cat((super().forward(images), extra), 1)
        return joined if self.prototypes is None else (joined, self.prototypes(self.backbone.stem(images)))


class Rtmdet(Detector):
    """Lyu et al. 2022, before NMS: corners in pixels (B, N, 4) from distances in pixels, and scores (B, N, classes)."""

    def __init__(self, classes: int, *, seed: int = 3) -> None:
        super().__init__({"box": 4, "classes": classes}, seed=seed)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        boxes, scores = [], []
        for stride, values in zip(STRIDES, self.maps(images), strict=True):
            sides = (values["box"].abs() * stride).permute(0, 2, 3, 1).flatten(1, 2)
            point = (points(values["box"], 0.0) * stride).T
            boxes.append(torch.cat((point - sides[..., :2], point + sides[..., 2:]), -1))
            scores.append(values["classes"].permute(0, 2, 3, 1).flatten(1, 2))
        return torch.cat(boxes, 1), torch.cat(scores, 1).sigmoid()


class Nanodet(Detector):
    """NanoDet with its maps as outputs: of each level scores (N, classes) and 8 bins a side (N, 32)."""

    def __init__(self, classes: int, *, seed: int = 3) -> None:
        super().__init__({"classes": classes, "box": 32}, seed=seed)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        given = []
        for values in self.maps(images):
            given.append(values["classes"].sigmoid().reshape(self.channels["classes"], -1).T)
            given.append(values["box"].reshape(32, -1).T)
        return tuple(given)


class NanodetPlus(Detector):
    """NanoDet-Plus: four levels; one output (B, N, classes + 32), scores and 8 bins a side."""

    def __init__(self, classes: int, *, seed: int = 3) -> None:
        super().__init__({"joined": classes + 32}, seed=seed, levels=4)
        self.classes = classes

    def forward(self, images: Tensor) -> Tensor:
        rows = []
        for values in self.maps(images):
            scores, box = torch.split(values["joined"], [self.classes, 32], 1)
            rows.append(torch.cat((scores.sigmoid(), box), 1).flatten(2))
        return torch.cat(rows, 2).permute(0, 2, 1)
