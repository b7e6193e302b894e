"""Writes type stubs of TensorRT's real bindings as package `tensorrt` into a folder: `make_tensorrt_stubs FOLDER`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from mypy.stubgenc import generate_stub_for_c_module

from tests.gpu.bindings import load_bindings

_MODULE = "tensorrt_bindings.tensorrt"


def main(folder: Path) -> None:
    version = load_bindings().__version__
    raw = folder / "raw.pyi"
    generate_stub_for_c_module(_MODULE, str(raw), known_modules=[_MODULE])
    text = raw.read_text()
    package = folder / "tensorrt"
    package.mkdir()
    (package / "__init__.pyi").write_text(f"{_mended(text)}\n__version__: str  # {version}\n")


def _mended(text: str) -> str:
    """What the generator cannot know: one malformed signature, types that stand for Python's own."""
    lines = [line for line in text.splitlines() if "add_scale_nd" not in line]
    mended = "\n".join(lines).replace(f"{_MODULE}.", "").replace("tensorrt_bindings.", "")
    mended = re.sub(r"(->|: ) ?bool\b(?!\.)", r"\1 builtins.bool", mended)
    mended = re.sub(r"(?<!class )\bFallbackString\b", "builtins.str", mended)
    mended = re.sub(r"(?<!class )\bPluginFieldCollection_\b", "PluginFieldCollection", mended)
    mended = re.sub(r"\bBuffer\b", "typing.Any", mended)
    mended = re.sub(r": Dims\b", ": Dims | tuple[builtins.int, ...]", mended)  # any parameter; results have ->
    mended = mended.replace("class Dims:", "class Dims(typing.Sequence[int]):")
    buffer = "\n    def __buffer__(self, flags: builtins.int) -> memoryview: ..."
    mended = mended.replace("class IHostMemory:", f"class IHostMemory:{buffer}")
    return f"import builtins\nimport typing\n{mended}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
