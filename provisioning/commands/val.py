"""edged-provision val: evaluate a model on a data set."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from edged.core.errors import EdgedError
from provisioning.command_line import default_store
from provisioning.commands.common import say, say_taken

if TYPE_CHECKING:
    from provisioning.evaluation.measure import Measured

NAME = "val"
HELP = "evaluate a checkpoint or a bundle on a data set"
DESCRIPTION = """\
Evaluate a model on labelled pictures: the table of P, R, mAP50 and mAP50-95, curves, confusion matrix, pictures.

  edged-provision val --data people.yaml --model runs/people/best.pt --size 320
  edged-provision val --data people.yaml --model /var/lib/edged/models/people --plots report
  edged-provision val --data people.yaml --model people --json people.json

A checkpoint (.pt) runs in torch. A bundle runs in the daemon's own detector. Classes are
matched by name, so a model of 80 classes can be measured on a data set of one of them. mAP is COCO's: precision at 101
recalls, mean over IoU 0.50 to 0.95. In torch a box counts for every class that passes, as in YOLOv5's own evaluation;
the daemon reports the best class of each box, which costs a model of many classes about 0.01.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--data", type=Path, required=True, metavar="DATA", help="YAML or obj.data, or its folder")
    parser.add_argument("--model", required=True, metavar="MODEL", help="a .pt file, a bundle, or a name in the store")
    parser.add_argument("--split", choices=("train", "val", "test"), default="val")
    parser.add_argument("--size", type=int, default=640, help="input side of a checkpoint; a bundle has its own")
    parser.add_argument("--device", default="cpu", help="for a checkpoint: cpu or cuda (default: cpu)")
    parser.add_argument("--file", default="model.onnx", help="of a bundle: model.onnx or model.int8.cpu.onnx")
    parser.add_argument("--batch-size", type=int, default=16, help="for a checkpoint (default: %(default)s)")
    parser.add_argument("--confidence", type=float, default=0.001, help="boxes below do not count (default: 0.001)")
    parser.add_argument("--iou", type=float, default=0.6, help="of NMS (default: 0.6)")
    parser.add_argument("--max-detections", type=int, default=300, help="a picture (default: 300)")
    parser.add_argument(
        "--single-label", action="store_true", help="checkpoint: only a box's best class counts, as in the daemon"
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave out unreadable pictures and defective labels")
    parser.add_argument("--polygons", action="store_true", help="take the box around each polygon of the labels")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="write curves, confusion matrix and pictures there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, write the plots and the JSON file if asked. Returns 0."""
    from provisioning.evaluation.measure import MeasureSettings, measure
    from provisioning.evaluation.report import speed_line, table

    model = Path(args.model)
    settings = MeasureSettings(
        data=args.data,
        model=model if model.exists() else default_store() / args.model,
        split=args.split,
        side=args.size,
        device=args.device,
        file=args.file,
        batch_size=args.batch_size,
        confidence=args.confidence,
        iou=args.iou,
        max_detections=args.max_detections,
        multi_label=not args.single_label,
        skip_bad=args.skip_bad,
        polygons=args.polygons,
        plots=args.plots,
    )
    say_taken(args.data)
    measured = measure(settings, progress=True)
    say(table(measured.result.evaluation))
    say(f"{speed_line(measured.result)} ({measured.runtime})")
    for file in measured.written:
        say(f"written: {file}")
    if args.json is not None:
        _write_json(args.json, measured, settings_text=str(settings.model))
        say(f"written: {args.json}")
    return 0


def _write_json(file: Path, measured: Measured, *, settings_text: str) -> None:
    from provisioning.evaluation.report import to_plain

    content = {
        "model": settings_text,
        "runtime": measured.runtime,
        "input": list(measured.input_wh),
        **to_plain(measured.result, measured.confusion),
    }
    try:
        file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
    except OSError as exc:
        raise EdgedError(f"{file} cannot be written: {exc.strerror}") from exc
