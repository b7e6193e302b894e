"""Draws the picture in the README: one moment of the demo's street, with what the model that ships finds in it.

python -m tests.demo.picture docs/street.jpg
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import cv2

from edged.demo.choice import PERSON
from edged.demo.film import PEOPLE, SEED, SIZE_WH
from edged.demo.scene import Scene
from edged.oneshot.run import Request, run_once

MOMENT_S = 8.0


def draw(target: Path, *, at_s: float) -> int:
    """Write the annotated picture as JPEG; returns the exit code of the look.

    Args:
        target: overwritten.
        at_s: moment of the demo's film, seconds from its start.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        street = folder / "street.png"
        cv2.imwrite(str(street), Scene(SEED, SIZE_WH, people=PEOPLE).frame(at_s)[0])
        code = run_once(Request(sources=(str(street),), model={"bundle": PERSON}, out=folder / "seen"))
        target.write_bytes((folder / "seen" / "street.jpg").read_bytes())
    return code


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("target", type=Path)
    parser.add_argument("--at", type=float, default=MOMENT_S, metavar="SECONDS")
    arguments = parser.parse_args()
    raise SystemExit(draw(arguments.target, at_s=arguments.at))
