"""What a GPU machine without a network has to be given, in folders that each fit one transfer: `make gpu-files`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.gpu.short_run import bundle, tensorrt_853, wheels
from tests.gpu.short_run.archive import pack
from tests.gpu.short_run.transfer import CONTENT, MIB, TransferError, lay
from tests.gpu.steps import ROOT

SPARE_MIB = 1  # names and whatever else a transfer adds


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where everything asked for was laid."""
    options = _parser().parse_args(arguments)
    if bool(options.weights) != bool(options.frames):
        sys.stderr.write("a bundle needs both WEIGHTS and FRAMES: it is quantised and verified on them\n")
        return 64
    try:
        tree = tree_bytes(ROOT)
        folder_bytes = room(tree, part_mib=options.part_mib, transfer_mib=options.transfer_mib)
        options.out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=options.out, prefix=".laying-") as scratch:
            folders = lay(_archives(options, Path(scratch)), options.out, folder_bytes=folder_bytes)
    except TransferError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    sys.stdout.write("\n".join(listed(folders, tree, options.transfer_mib)) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.short_run.files", description=__doc__)
    parser.add_argument("--weights", type=Path, metavar="FILE.pt", help="of the bundle; without, none is laid")
    parser.add_argument("--frames", type=Path, metavar="PATH", help="pictures, a video, or a folder already sampled")
    parser.add_argument("--size", default="640", help="of the network's input (default: %(default)s)")
    parser.add_argument("--calibration", type=int, default=60, metavar="N", help="frames (default: %(default)s)")
    parser.add_argument("--verification", type=int, default=12, metavar="N", help="frames (default: %(default)s)")
    parser.add_argument(
        "--tensorrt", choices=(tensorrt_853.VERSION,), help="also a whole TensorRT, in folders of its own (minutes)"
    )
    parser.add_argument("--python310", type=Path, metavar="FILE", help="CPython 3.10, which that TensorRT needs")
    parser.add_argument("--python", default="3.12", help="the machine's version (default: %(default)s)")
    parser.add_argument("--cuda", choices=("cu12", "cu13"), default="cu13", help="the machine's (default: %(default)s)")
    parser.add_argument("--part-mib", type=int, default=50, help="of a folder at most (default: %(default)s)")
    parser.add_argument(
        "--transfer-mib", type=int, default=64, help="of a folder and the working tree (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "gpu-files", help="(default: gpu-files)")
    return parser


def tree_bytes(root: Path) -> int:
    """Of the working tree as it travels: what git tracks, and what it neither tracks nor ignores."""
    command = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    try:
        listing = subprocess.run(command, cwd=root, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as exc:
        raise TransferError(f"the working tree's size cannot be told: git ls-files in {root}: {exc}") from exc
    paths = [root / name.decode() for name in set(listing.split(b"\0")) if name]
    return sum(path.lstat().st_size for path in paths if path.is_symlink() or path.is_file())


def room(tree: int, *, part_mib: int, transfer_mib: int) -> int:
    """Bytes of a folder, so that it and the working tree are one transfer.

    Raises:
        TransferError: the tree leaves none.
    """
    left = (transfer_mib - SPARE_MIB) * MIB - tree
    if left < MIB:
        raise TransferError(
            f"the working tree has {tree / MIB:.1f} MiB and leaves no room in a transfer of {transfer_mib} MiB; "
            "remove or ignore what need not travel"
        )
    return min(part_mib * MIB, left)


def _archives(options: argparse.Namespace, scratch: Path) -> list[list[Path]]:
    """In the order in which the steps need them; TensorRT, which is not always carried, apart."""

    def packed(folder: Path) -> Path:
        _say(f"compressing {folder.name} ...")
        return pack(folder, scratch / f"{folder.name}.tar.xz")

    _say("packages ...")
    first = [packed(wheels.site(scratch / "site", python=options.python))]
    first.append(packed(wheels.rtx(scratch / "rtx", python=options.python, cuda=options.cuda)))
    if options.weights:
        counts = {"calibration": options.calibration, "verification": options.verification}
        made = bundle.make(options.weights, options.frames, scratch, size=options.size, **counts)
        first += [packed(folder) for folder in made]
    if not options.tensorrt:
        return [first]
    _say(f"TensorRT {options.tensorrt} ...")
    return [first, [packed(tensorrt_853.assemble(scratch / "tensorrt", python310=options.python310))]]


def listed(folders: Sequence[Path], tree: int, transfer_mib: int) -> list[str]:
    """For a person: what each folder holds, and what it makes with the working tree."""
    said = [f"working tree {tree / MIB:.1f} MiB; each line is one transfer, at most {transfer_mib} MiB with it"]
    for folder in folders:
        content = json.loads((folder / CONTENT).read_text("utf-8"))
        held = ", ".join(f"{piece['archive']} {piece['nbytes'] / MIB:.1f}" for piece in content["pieces"])
        nbytes = sum(path.stat().st_size for path in folder.iterdir())
        said.append(f"{folder}: {nbytes / MIB:5.1f} MiB, with the tree {(nbytes + tree) / MIB:5.1f}: {held}")
    return said


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
