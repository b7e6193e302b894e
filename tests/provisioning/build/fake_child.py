"""The child process with a TensorRT and a device made of Python: `fake_child.py VERSION FAILURE probe|build ...`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from provisioning.build import child
from tests.provisioning.build import fake_tensorrt

if __name__ == "__main__":
    version, failure, *arguments = sys.argv[1:]
    if failure == "printed":
        sys.stderr.write("[TRT] [E] libnvinfer_builder_resource.so.10: cannot open shared object file\n")
        sys.exit(3)
    if failure != "missing":
        sys.modules["tensorrt"] = fake_tensorrt.make(version, failure)
    child._device = lambda: ("Fake GPU", "8.7")
    child._register_plugin = lambda log: log.lines.append("plugin registered")
    sys.exit(child.main(arguments))
