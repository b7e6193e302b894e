"""A box that pulls, and Debian's registry that it pulls from."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edged.core.bundle import Bundle
from provisioning.__main__ import main
from provisioning.store import Store


@dataclass(frozen=True)
class Box:
    """The registry as a test sees it: its host, its data, and options that reach it."""

    host: str
    data: Path
    keys: Path
    access: list[str]

    def push(self, store: Path, tag: str, *how: str) -> int:
        signed = how or ("--key", str(self.keys / "bundles.key"))
        return main(["push", "squares", f"{self.host}/boxes/yard:{tag}", "--store", str(store), *signed, *self.access])

    def pull(self, folder: Path, which: str, *more: str, key: str = "bundles.pub", host: str = "") -> int:
        """Pull a tag, or a digest if `which` begins with @; with another `host` if one is given."""
        places = ["--store", str(folder / "models"), "--work", str(folder / "work")]
        wanted = ["--unsigned"] if "--unsigned" in more else ["--verify-key", str(self.keys / key)]
        rest = [each for each in more if each != "--unsigned"]
        place = f"{host or self.host}/boxes/yard{which if which.startswith('@') else f':{which}'}"
        return main(["pull", place, *wanted, *places, *self.access, *rest])

    def blob(self, sha256: str) -> Path:
        return self.data / "docker/registry/v2/blobs/sha256" / sha256[:2] / sha256 / "data"


def add_bundle(store: Path, manifest_from: Path, *, licence: str = "", model: bytes = b"") -> Bundle:
    """A bundle `squares` in a new `store`, like the one in `manifest_from`, of another licence or model."""
    before = Store(manifest_from).open("squares")
    manifest = dataclasses.replace(before.manifest, licence=licence or before.manifest.licence)
    return Store(store).add(manifest, {"model.onnx": model or before.read("model.onnx")})


def active(folder: Path) -> str:
    """The digest of the bundle that a box runs; empty where it runs none."""
    bundle = Store(folder / "models").active()
    return bundle.directory.name if bundle else ""


def free_port() -> int:
    """A port of localhost that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(config: Path, port: int) -> Iterator[None]:
    """Run `docker-registry`, from when it listens."""
    quiet = subprocess.DEVNULL
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed")
    with subprocess.Popen(["docker-registry", "serve", str(config)], stdout=quiet, stderr=quiet) as server:
        try:
            for _ in range(100):
                with socket.socket() as probe:
                    if probe.connect_ex(("localhost", port)) == 0:
                        break
                time.sleep(0.05)
            yield
        finally:
            server.terminate()
