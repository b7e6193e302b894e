"""Runs a checkpoint over pictures in torch."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch

from edged.core.decode import GridDecode
from edged.core.types import Detections, Floats, Pixels
from edged.cpu.decode import Candidates, Decoder
from edged.cpu.nms import nms
from edged.cpu.preprocess import letterbox_image, to_network_input
from provisioning.evaluation.multilabel import decode_multi_label
from provisioning.evaluation.prediction import VAL_CONFIDENCE, VAL_DETECTIONS, VAL_IOU, Prediction
from provisioning.model.network import Yolov5


class TorchPredictor:
    """A network in torch, with the daemon's letterbox, decode and NMS around it.

    Args:
        model: in training or evaluation mode; each call uses evaluation mode and restores the mode.
        side: of the square input, pixels.
        device: where the model is.
        confidence, iou, max_detections: thresholds; the defaults are those for metrics.
        class_ids: classes to report; empty for all.
        multi_label: a box may count for several classes, as in YOLOv5's evaluation; the daemon reports only the best.
    """

    def __init__(
        self,
        model: Yolov5,
        *,
        side: int,
        device: torch.device,
        confidence: float = VAL_CONFIDENCE,
        iou: float = VAL_IOU,
        max_detections: int = VAL_DETECTIONS,
        class_ids: frozenset[int] = frozenset(),
        multi_label: bool = False,
    ) -> None:
        self._model = model
        self._side = side
        self._device = device
        self._confidence = confidence
        self._iou = iou
        self._max_detections = max_detections
        self._class_ids = class_ids
        self._multi_label = multi_label
        anchors = tuple(tuple((float(w), float(h)) for w, h in head) for head in model.anchors.tolist())
        self._decode = Decoder(GridDecode(anchors, tuple(model.strides)))

    def __call__(self, pictures: Sequence[Pixels]) -> list[Prediction]:
        """Predict as `Predictor` says; all pictures form one batch, and timings are means over it."""
        marks = [time.perf_counter()]
        fitted = [letterbox_image(picture, (self._side,) * 2) for picture in pictures]
        batch = torch.stack([torch.from_numpy(to_network_input(canvas)) for canvas, _ in fitted])
        marks.append(time.perf_counter())
        heads = self._run(batch)
        marks.append(time.perf_counter())
        found = []
        for place, (_, box) in enumerate(fitted):
            best = self._best([head[place].numpy() for head in heads])
            found.append(Detections(box.to_frame(best.xyxy), best.score, best.class_id))
        marks.append(time.perf_counter())
        stages = zip(("preprocess", "inference", "nms"), marks, marks[1:], strict=False)
        timings = {name: (end - start) * 1e3 / len(pictures) for name, start, end in stages}
        return [Prediction(detections, timings) for detections in found]

    def _best(self, heads: Sequence[Floats]) -> Candidates:
        candidates = self._candidates(heads)
        if self._class_ids:
            candidates = candidates.select(np.isin(candidates.class_id, list(self._class_ids)))
        kept = nms(
            candidates.xyxy,
            candidates.score,
            candidates.class_id,
            iou_threshold=self._iou,
            max_detections=self._max_detections,
        )
        return candidates.select(kept)

    def _candidates(self, heads: Sequence[Floats]) -> Candidates:
        if not self._multi_label:
            return self._decode(heads, threshold=self._confidence)
        anchors = list(self._model.anchors.cpu().numpy())
        return decode_multi_label(heads, anchors=anchors, strides=self._model.strides, threshold=self._confidence)

    def _run(self, batch: torch.Tensor) -> list[torch.Tensor]:
        training = self._model.training
        self._model.eval()
        try:
            with torch.inference_mode():
                dtype = next(self._model.parameters()).dtype
                images = batch.to(self._device, dtype).contiguous(memory_format=torch.channels_last)
                return [head.float().cpu().contiguous() for head in self._model.sigmoid_maps(images)]
        finally:
            self._model.train(training)
