"""A store that holds a bundle once for each precision: `python -m tests.gpu.fill BUNDLE STORE [PRECISION...]`."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from edged.core.bundle import MODEL_INT8, Bundle
from edged.core.errors import EdgedError
from provisioning.store import Store


def fill(directory: Path, store: Path, wanted: Sequence[str]) -> list[str]:
    """Add the bundle under each precision's name; the names.

    Args:
        directory: the bundle's.
        store: is made where there is none.
        wanted: precisions; none for all that the bundle has. `int8` is left out where it was not quantised.

    Raises:
        EdgedError: the bundle cannot be read, or the store not be written.
    """
    bundle = Bundle.open(directory)
    files: dict[str, bytes | Path] = {name: bundle.directory / name for name in bundle.manifest.files}
    held = ["fp32", "fp16", *(["int8"] if MODEL_INT8 in files else [])]
    names = [name for name in wanted or held if name in held]
    for name in names:
        Store(store).add(dataclasses.replace(bundle.manifest, name=name, report={}), files)
    return names


def main(arguments: Sequence[str]) -> int:
    """Print the names as JSON."""
    try:
        names = fill(Path(arguments[0]), Path(arguments[1]), arguments[2:])
    except EdgedError as exc:
        sys.stderr.write(f"{exc}\n")
        return exc.exit_code
    sys.stdout.write(json.dumps(names) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
