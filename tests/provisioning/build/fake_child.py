"""The child process with a TensorRT and a device made of Python: `fake_child.py VERSION FAILURE probe|build ...`.

VERSION is e.g. `10.3.0`, or `rtx-1.7.1.116` of that for RTX.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from provisioning.build import child
from tests.provisioning.build import fake_tensorrt

if __name__ == "__main__":
    version, failure, *arguments = sys.argv[1:]
    if failure == "printed":
        sys.stderr.write("[TRT] [E] libnvinfer_builder_resource.so.10: cannot open shared object file\n")
        sys.exit(3)
    if failure != "missing":
        rtx = version.startswith("rtx-")
        made = fake_tensorrt.make(version.removeprefix("rtx-"), failure, rtx=rtx)
        sys.modules["tensorrt_rtx" if rtx else "tensorrt"] = made
    gpu: Any = types.SimpleNamespace(name="Fake GPU", compute_capability=(8, 7))
    patched: Any = child
    patched._card = lambda device: ("", "", "no driver") if device == "auto" else ("Fake RTX", device, "")
    patched._open = lambda _device, **_options: gpu
    patched._register_plugin = lambda _gpu: None
    sys.exit(child.main(arguments))
