"""Take what was carried to the machine: `python3 -m tests.gpu.short_run.receive FOLDER... [--unpack NAME...]`."""

from __future__ import annotations

import argparse
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.gpu.short_run.transfer import TransferError, receive, unpack

WORK = Path(tempfile.gettempdir()) / "edged-gpu"


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where every folder was taken and every archive asked for is unpacked."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.gpu.short_run.receive", description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="of gpu-files, in order")
    parser.add_argument("--work", type=Path, default=WORK, help="outside the working tree (default: %(default)s)")
    parser.add_argument("--unpack", nargs="*", default=(), metavar="NAME", help="archives that must be whole now")
    options = parser.parse_args(arguments)
    try:
        for folder in options.folders:
            sys.stdout.write(f"{folder}: {', '.join(receive(folder, options.work))}\n")
        for name in options.unpack:
            sys.stdout.write(f"unpacked {unpack(name, options.work)}\n")
    except (TransferError, OSError, tarfile.TarError) as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
