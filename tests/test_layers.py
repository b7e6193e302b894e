"""Imports point one way, heavy ones stand only with their owner, and importing the daemon stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from edged.core.extras import EXTRAS_WITH

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
STAGES = {"analysis", "capture", "cpu", "gpu", "publish"}
# What each room may import from edged, beside itself.
ALLOWED: dict[str, set[str]] = {
    "core": set(),
    "analysis": {"core", "annotate", "jpeg"},
    "capture": {"core"},
    "cpu": {"core"},
    "gpu": {"core"},
    "publish": {"core"},
    "store": {"core"},
    "health": {"core"},
    "annotate": {"core"},
    "jpeg": {"core"},
    "feed": {"core", "jpeg", "publish"},  # it says what is published, in the same words
    "logs": {"core"},
    "instance": {"core"},
    "pipeline": {"core", "health"},
    "config": {"core", "analysis", "capture", "publish", "store"},  # the options types of the stages, which it inherits
    "sinks": {"core"},
    "assembly": {"core", "config", "feed", "pinning", "sinks"} | STAGES,
    "oneshot": {"core", "config", "assembly", "annotate"} | STAGES,
    "check": {"core", "config", "assembly", "jpeg"} | STAGES,
    "pinning": set(),
    "daemon": {"core", "config", "assembly", "pipeline", "health", "logs", "instance", "store"},
    "demo": {"core"},
    "migrate": {"core", "config", "analysis"},  # every table that it writes is checked by the schema
    "bench": {"core", "config", "assembly", "pipeline", "health", "demo"} | STAGES,
    "view": {"core", "config", "assembly", "feed", "health", "publish"},
    "commands": {"core", "daemon", "check", "oneshot", "demo", "bench", "logs", "migrate", "view"},
    "__main__": {"core", "commands"},
}
OWNERS = {  # a heavy import may stand only below these paths
    "torch": (
        "provisioning/training",
        *(f"provisioning/model/{name}.py" for name in ("blocks", "network", "torch_checkpoint")),
        *("provisioning/evaluation/measure.py", "provisioning/evaluation/torch_predictor.py", "provisioning/peer.py"),
    ),
    "onnx": ("provisioning",),
    "cryptography": ("provisioning/registry",),
    "onnx_graphsurgeon": ("provisioning",),
    "tensorrt": ("edged/gpu", "plugins", "provisioning"),
    "cuda": ("edged/gpu", "plugins", "provisioning"),
    "pynvml": ("edged/gpu",),
    "requests": ("edged/capture/sources",),
    "onnxruntime": ("edged/cpu", "provisioning", "edged/bench"),
    "lap": ("edged/analysis",),
    "cv2": (
        "edged/analysis",
        "edged/capture",
        "edged/cpu",
        "edged/annotate.py",
        "edged/feed",
        "edged/jpeg.py",
        "edged/oneshot",
        "edged/demo",
        "edged/bench",
        "provisioning",
    ),
    "av": ("edged/capture",),
    "paho": ("edged/publish", "edged/demo", "edged/bench", "edged/view/fleet.py"),
    "aiohttp": ("edged/view",),
    "prometheus_client": ("edged/view",),
    "yaml": ("edged/migrate", "provisioning"),
}


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def sources(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert found
    return found


def require_layers(path: Path, folder: str, allowed: dict[str, set[str]]) -> None:
    """A file below `folder` imports of it only its own room and those that `allowed` gives for it."""
    room = path.relative_to(ROOT / folder).parts[0].removesuffix(".py")
    package = folder.replace("/", ".")
    for name in imports_of(path) if room != "__init__" else ():
        if name.startswith(f"{package}."):
            target = name.removeprefix(f"{package}.").split(".")[0]
            assert target == room or target in allowed[room], f"{path} imports {name}: not below {package}.{room}"


@pytest.mark.parametrize("path", sources("edged"), ids=lambda path: str(path.relative_to(ROOT)))
def test_layers_of_edged(path: Path) -> None:
    require_layers(path, "edged", ALLOWED)
    assert not any(name.split(".")[0] == "provisioning" for name in imports_of(path)), "the daemon never imports it"


# What each folder and file of provisioning may import from it, beside itself. The order is that of the layers.
PROVISIONING_ALLOWED: dict[str, set[str]] = {
    "command_line": set(),
    "files": set(),
    "names": set(),
    "patch": set(),
    "graphs": set(),
    "bundle_files": {"command_line", "files"},
    "fetching": {"files"},
    "store": {"bundle_files", "files"},
    "registry": {"bundle_files", "files", "store"},
    "model": {"files", "names"},
    "data": {"names"},
    "export": {"model"},
    "cut": {"export", "files", "graphs", "names"},
    "families": {"cut", "data", "export", "graphs"},
    "frames": {"data"},
    "evaluation": {"data", "model"},
    "training": {"command_line", "data", "evaluation", "files", "model"},
    "peer": {"evaluation", "model"},
    "importing": {
        *("cut", "data", "export", "families", "fetching", "files", "graphs", "model", "names", "store"),
    },
    "quantize": {"files", "families", "frames", "graphs"},
    "revision": {"patch", "quantize", "store"},
    "build": {"revision", "store"},
    "verify": {"data", "evaluation", "frames", "revision", "store"},
    "recipe": {
        *(
            "build",
            "bundle_files",
            "command_line",
            "cut",
            "data",
            "families",
            "fetching",
            "files",
            "frames",
            "importing",
        ),
        *("quantize", "registry", "revision", "store", "training", "verify"),
    },
    "commands": {
        *(
            "build",
            "command_line",
            "data",
            "evaluation",
            "export",
            "fetching",
            "files",
            "families",
            "frames",
            "graphs",
            "importing",
        ),
        *("quantize", "recipe", "registry", "revision", "store", "training", "verify"),
    },
    "__main__": {"commands"},
}


@pytest.mark.parametrize("path", sources("provisioning"), ids=lambda path: str(path.relative_to(ROOT)))
def test_layers_of_provisioning(path: Path) -> None:
    require_layers(path, "provisioning", PROVISIONING_ALLOWED)
    assert path.name == "__init__.py" or "provisioning" not in imports_of(path), "import from the module itself"


def test_the_layers_of_provisioning_have_an_order() -> None:
    """What a layer may import stands above it in the table: an upward import cannot be allowed by a line there."""
    rooms = list(PROVISIONING_ALLOWED)
    for place, room in enumerate(rooms):
        assert PROVISIONING_ALLOWED[room] <= set(rooms[:place]), room


# What each room of capture may import from it, beside itself.
CAPTURE_ALLOWED: dict[str, set[str]] = {
    "spec": set(),
    "sources": {"spec"},
    "boundary": {"spec", "sources"},
    "child": {"spec", "sources", "boundary"},
    "parent": {"spec", "sources", "boundary"},
    "cameras": {"spec", "parent"},
}


@pytest.mark.parametrize("path", sources("edged/capture"), ids=lambda path: str(path.relative_to(ROOT)))
def test_capture_says_on_which_side_of_the_process_boundary_a_line_runs(path: Path) -> None:
    require_layers(path, "edged/capture", CAPTURE_ALLOWED)


@pytest.mark.parametrize("path", sources("edged", "provisioning", "plugins"), ids=lambda p: str(p.relative_to(ROOT)))
def test_heavy_imports_stand_with_their_owner(path: Path) -> None:
    place = str(path.relative_to(ROOT))
    for name in imports_of(path):
        owners = OWNERS.get(name.split(".")[0])
        assert owners is None or place.startswith(owners), f"{place} imports {name}, which belongs to {owners}"


def test_a_missing_package_is_named_with_the_extras_that_bring_it() -> None:
    # Who imports the first two says what to do; the last is a part of pydantic.
    elsewhere = {"systemd", "tensorrt", "pydantic_core"}
    used = {name.split(".")[0] for path in sources("edged", "provisioning", "plugins") for name in imports_of(path)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]  # what is installed may be older
    owners = packages_distributions()
    for package in used - sys.stdlib_module_names - {"edged", "provisioning", "plugins"} - elsewhere:
        found = {name.lower().replace("_", "-") for name in owners.get(package, ())}
        for extra in EXTRAS_WITH.get(package, ("",)):
            lines = project["dependencies"] + (project["optional-dependencies"][extra] if extra else [])
            wanted = [Requirement(line) for line in lines]
            brought = {one.name.lower() for one in wanted if not one.marker or one.marker.evaluate()}
            assert not found or found & brought, f"{package} of {found} does not come with {extra or 'edged itself'}"


def test_core_needs_little() -> None:
    """Each camera's child process loads it; annotated_types is a few plain classes."""
    for path in sources("edged/core"):
        for name in imports_of(path):
            top = name.split(".")[0]
            light = top in {"numpy", "annotated_types", "edged"} or top in sys.stdlib_module_names
            assert light, f"{path} imports {name}"


def test_plugins_are_a_leaf() -> None:
    for path in sources("plugins"):
        for name in imports_of(path):
            assert name.split(".")[0] != "provisioning"
            assert not name.startswith("edged") or name.startswith("edged.core"), f"{path} imports {name}"


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return {name.split(".")[0] for name in done.stdout.split()}


def test_importing_the_daemon_loads_nothing_of_training() -> None:
    assert not loaded_by("import edged.daemon") & {"torch", "matplotlib", "pandas", "onnx", "tensorrt", "cuda", "scipy"}


def test_only_training_needs_torch() -> None:
    """Models are made on the device itself, where torch is not."""
    pytest.importorskip("onnx_graphsurgeon", reason="onnx-graphsurgeon is not installed")
    rooms = ("importing", "recipe.chain", "recipe.run", "build.bundle_engine", "build.tensorrt_maker", "verify.checked")
    more = ("frames.sample", "quantize.for_cpu", "quantize.int8", "patch", "evaluation.measure", "fetching.fetch")
    needed = ", ".join(f"provisioning.{name}" for name in (*rooms, *more))
    assert not loaded_by(f"import {needed}") & {"torch"}


def test_a_camera_process_does_without_the_configuration() -> None:
    assert not loaded_by("import edged.capture.child.worker") & {"pydantic", "pydantic_core", "paho", "onnxruntime"}


def test_importing_the_command_line_is_light() -> None:
    # Every camera's child process imports it.
    assert not loaded_by("import edged.__main__") & {"numpy", "cv2", "pydantic", "paho", "onnxruntime"}
