"""edged-provision dataset: check, convert, render."""

from __future__ import annotations

import argparse
import io
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from edged.core.errors import DataError, UsageError
from provisioning.commands.common import add_json_argument, say, say_json, say_taken

if TYPE_CHECKING:
    from provisioning.data.check import CheckReport, SplitCounts
    from provisioning.data.convert import Converted

NAME = "dataset"
HELP = "check, convert or render a data set"
DESCRIPTION = """\
A data set in YOLO format is a YAML file, pictures, and a text file a picture with a line an object:

  data.yaml            images/train/a.jpg     labels/train/a.txt
  train: images/train                         0 0.5 0.5 0.2 0.4     class, centre x y, width height, as
  val: images/val                                                   fractions of the picture
  names: [person]

The last folder called images becomes labels; without one the .txt lies beside its picture. Names that begin with a dot
are no data. Roboflow's YAML and what CVAT exports as YOLO 1.1 (obj.data) are taken as they are.

  edged-provision dataset check data.yaml
  edged-provision dataset convert VOCdevkit/VOC2012 --from voc --to people --only person
  edged-provision dataset convert annotations --from coco --to coco
  edged-provision dataset convert instances_val.json --from coco --images val2017 --to coco
  edged-provision dataset render --train 400 --val 50 --to scenes
"""
_DATA_ERROR = DataError.exit_code
_SHOWN = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the three actions and their options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="read everything once; report counts and every defect")
    check.add_argument("data", type=Path, metavar="DATA", help="the YAML or obj.data, or the folder that holds it")
    check.add_argument(
        "--polygons", action="store_true", help="take the box around each polygon of segmentation labels"
    )
    check.add_argument("--all", action="store_true", help=f"list every defect, not the first {_SHOWN}")
    convert = actions.add_parser("convert", help="Pascal VOC XML, COCO JSON or YOLO -> YOLO")
    convert.add_argument(
        "source", type=Path, help="folder of XML files; JSON file or a folder of one a split; data-set YAML"
    )
    convert.add_argument("--from", dest="kind", choices=("voc", "coco", "yolo"), required=True, help="what SOURCE is")
    convert.add_argument("--to", type=Path, required=True, metavar="DIR", help="where data.yaml is written")
    convert.add_argument("--images", type=Path, metavar="DIR", help="pictures of a COCO file (default: beside it)")
    convert.add_argument(
        "--split",
        choices=("train", "val", "test"),
        help="what all of a VOC or COCO source is (default: as its lists, folders and files are called)",
    )
    convert.add_argument(
        "--val-share",
        type=float,
        metavar="SHARE",
        help="what becomes val of VOC pictures without splits (default: 0.1), of a YOLO data set with only train",
    )
    convert.add_argument("--only", nargs="+", default=[], metavar="CLASS", help="keep these classes, in this order")
    convert.add_argument("--skip-bad", action="store_true", help="leave files with defects out instead of refusing")
    render = actions.add_parser("render", help="draw street scenes with walking people, labels included")
    render.add_argument("--to", type=Path, required=True, metavar="DIR", help="where data.yaml is written")
    render.add_argument("--train", type=int, default=400, help="pictures (default: %(default)s)")
    render.add_argument("--val", type=int, default=50, help="pictures (default: %(default)s)")
    render.add_argument("--seed", type=int, default=0, help="the same seed draws the same scenes")
    for action in (check, convert, render):
        add_json_argument(action)


def run(args: argparse.Namespace) -> int:
    """Run the action. Returns 0, or 65 if `check` found errors."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may hold bytes that are not UTF-8
    return {"check": _check, "convert": _convert, "render": _render}[args.action](args)


def _check(args: argparse.Namespace) -> int:
    from provisioning.data.check import check_dataset
    from provisioning.data.spec import read_spec

    say_taken(args.data)
    report = check_dataset(read_spec(args.data), polygons=args.polygons, progress=True)
    if args.json:
        say_json(report.to_plain())
    else:
        _say_report(report, shown=None if args.all else _SHOWN)
    return _DATA_ERROR if report.errors else 0


def _convert(args: argparse.Namespace) -> int:
    from provisioning.data.convert import read_source, write_dataset

    if args.val_share is not None and not 0 <= args.val_share < 1:
        raise UsageError(f"--val-share must be at least 0 and below 1, got {args.val_share}")
    if args.kind == "yolo" and args.split:
        raise UsageError("--split is for VOC and COCO; a YOLO data set names its own")
    if args.kind != "coco" and args.images:
        raise UsageError("--images is for COCO")
    split = args.split or ""
    reading = read_source(args.source, kind=args.kind, split=split, val_share=args.val_share, images=args.images)
    done = write_dataset(reading, args.to, only=args.only, skip_bad=args.skip_bad, progress=True)
    for line in done.defects:
        sys.stderr.write(f"{line}\n")
    if args.json:
        say_json(
            {
                "data": str(args.to / "data.yaml"),
                "pictures": done.pictures,
                "background": done.background,
                "boxes": done.boxes,
                "splits": done.splits,
                "names": list(done.names),
                "left_out_pictures": done.left_out,
                "left_out": list(done.notes),
                "remarks": list(done.remarks),
            }
        )
        return 0
    _say_converted(done, args.to / "data.yaml")
    return 0


def _say_converted(done: Converted, file: Path) -> None:
    shares = ", ".join(f"{split} {count}" for split, count in done.splits.items())
    say(f"{file}: {done.pictures} pictures ({shares}; {done.background} background), {done.boxes} boxes")
    for remark in done.remarks:
        say(f"note: {remark}")
    for note in (*done.notes, *([f"{done.left_out} pictures with defects"] if done.left_out else [])):
        say(f"left out: {note}")


def _render(args: argparse.Namespace) -> int:
    from provisioning.data.rendered import render_dataset

    if args.train < 0 or args.val < 0 or args.seed < 0 or not args.train + args.val:
        raise UsageError("--train, --val and --seed must be at least 0, and there must be a picture to draw")
    render_dataset(args.to, train=args.train, val=args.val, seed=args.seed, progress=True)
    result = {"data": str(args.to / "data.yaml"), "train": args.train, "val": args.val}
    say_json(result) if args.json else say(f"{result['data']}: {args.train} + {args.val} rendered pictures")
    return 0


def _say_report(report: CheckReport, *, shown: int | None) -> None:
    for split, counts in report.splits.items():
        _say_split(split, counts, report.names)
    listed = report.defects if shown is None else report.defects[:shown]
    for defect in listed:
        sys.stdout.write(f"{defect}\n")
    if len(listed) < len(report.defects):
        say(f"... and {len(report.defects) - len(listed)} more; see them with --all or --json")
    kinds = Counter((defect.severity.value, defect.kind) for defect in report.defects)
    for (severity, kind), count in sorted(kinds.items()):
        say(f"{count:6d} {severity}: {kind}")
    say(_verdict(report))


def _verdict(report: CheckReport) -> str:
    if report.errors:
        return f"{report.errors} errors"
    if report.missing:
        return f"no errors; to train on it, name pictures for {' and '.join(report.missing)}, too"
    polygons = any(counts.polygons for counts in report.splits.values())
    return f"no errors: ready to train on{', with --polygons' if polygons else ''}"


def _say_split(split: str, counts: SplitCounts, names: tuple[str, ...]) -> None:
    from provisioning.data.check import QUANTILES, quantiles

    say(f"{split}: {counts.pictures} pictures, {counts.background} of them background; {counts.boxes} boxes")
    for number, name in enumerate(names):
        boxes, pictures = counts.boxes_by_class[number], counts.pictures_by_class[number]
        if boxes or len(names) <= 20:  # noqa: PLR2004  # of many classes, only those that occur
            say(f"  {name}: {boxes} boxes in {pictures} pictures")
    if counts.sizes_px:
        heading = "  ".join(f"{quantile:7.0%}" for quantile in QUANTILES)
        say(f"  {'box size':24}{heading}")
        for title, values in (
            ("side of equal area, px", counts.sizes_px),
            ("width / picture", [width for width, _ in counts.shares]),
            ("height / picture", [height for _, height in counts.shares]),
        ):
            say(f"  {title:24}" + "  ".join(f"{value:7.3g}" for value in quantiles(values)))
