"""Which detections count at all: size, shape and masks."""

from __future__ import annotations

from collections.abc import Sequence

from edged.analysis.geometry import Polygon
from edged.analysis.options import SceneOptions
from edged.core.types import Detections


class Selection:
    """Filters and masks of one camera.

    Args:
        options: of the camera; scores are the tracker's matter.
    """

    def __init__(self, options: SceneOptions) -> None:
        self._options = options
        self._masks = [(Polygon(mask.points), mask.labels) for mask in options.masks]

    def keep(self, detections: Detections, labels: Sequence[str], size_wh: tuple[int, int]) -> list[int]:
        """Indexes of the detections that count.

        Args:
            detections: of a frame, frame pixels.
            labels: name of each.
            size_wh: of the frame, pixels.
        """
        boxes = detections.xyxy.tolist()
        return [index for index, (box, label) in enumerate(zip(boxes, labels, strict=True))
                if self._fits(box, label, size_wh) and not self._masked(box, label, size_wh)]  # fmt: skip

    def _fits(self, box: list[float], label: str, size_wh: tuple[int, int]) -> bool:
        limits = self._options.filter_of(label)
        width, height = box[2] - box[0], box[3] - box[1]
        if width <= 0 or height <= 0:
            return False
        area = width * height / (size_wh[0] * size_wh[1])
        return limits.min_area <= area <= limits.max_area and limits.min_ratio <= width / height <= limits.max_ratio

    def _masked(self, box: list[float], label: str, size_wh: tuple[int, int]) -> bool:
        if not self._masks:
            return False
        anchor = (box[0] + box[2]) / 2 / size_wh[0], box[3] / size_wh[1]
        return any((not labels or label in labels) and area.contains(anchor) for area, labels in self._masks)
