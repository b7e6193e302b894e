"""Which packages the GPU steps import, and which of them a machine with torch's usual stack lacks: the one list.

The standard library only: the machine where this is asked may have none of them.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence

# Module: distribution. What is there wherever torch, ONNX and CUDA's Python packages are.
USUAL = {
    "numpy": "numpy",
    "cv2": "opencv-python-headless",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "tqdm": "tqdm",
    "yaml": "PyYAML",
    "typing_extensions": "typing_extensions",
    "cuda.bindings.driver": "cuda-bindings",
    "pynvml": "nvidia-ml-py",
    "pytest": "pytest",
}
# What is not; `make gpu-files` lays wheels of these.
CARRIED = {
    "pydantic": "pydantic",
    "pydantic_core": "pydantic-core",
    "annotated_types": "annotated-types",
    "typing_inspection": "typing-inspection",
    "pydantic_settings": "pydantic-settings",
    "dotenv": "python-dotenv",
    "paho.mqtt": "paho-mqtt",
    "onnx_graphsurgeon": "onnx-graphsurgeon",
    "pytest_timeout": "pytest-timeout",
}
DISTRIBUTIONS = USUAL | CARRIED
# What the usual ones bring themselves.
BROUGHT = (
    *("iniconfig", "packaging", "pluggy", "pygments", "exceptiongroup", "tomli"),  # pytest's
    *("protobuf", "flatbuffers", "ml-dtypes", "coloredlogs", "cuda-pathfinder"),  # ONNX's and CUDA's
)

# By kind of step: the modules that it imports, CUDA's compiler apart, which may be the toolkit's.
STORE = ("numpy",)
_DEVICE = ("numpy", "annotated_types", "cuda.bindings.driver")
DETECTOR = (*_DEVICE, "cv2")
BENCH = (*_DEVICE, "pynvml")
ENGINE = (*BENCH, "cv2", "onnx", "onnx_graphsurgeon", "onnxruntime", "tqdm", "yaml", "typing_extensions")
KERNEL_TESTS = (*DETECTOR, "onnx", "typing_extensions", "pytest", "pytest_timeout")
ALL_TESTS = tuple(DISTRIBUTIONS)

_CHECK = """
import importlib.util, sys
for name in sys.argv[1:]:
    try:
        found = importlib.util.find_spec(name) is not None
    except Exception:
        found = False
    if not found:
        print(name)
"""


def normal(distribution: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def missing(python: str, modules: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The distributions of the modules that an interpreter does not find.

    Args:
        python: interpreter.
        modules: keys of DISTRIBUTIONS, or any other module's name.
        environment: of the process that would import them.

    Raises:
        OSError: there is no such interpreter.
        subprocess.CalledProcessError: it cannot run.
    """
    if not modules:
        return []
    asked = subprocess.run(
        (python, "-c", _CHECK, *modules), env=dict(environment), capture_output=True, text=True, check=True
    )
    return [DISTRIBUTIONS.get(name, name) for name in asked.stdout.split()]
