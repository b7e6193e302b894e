"""`[provision] source`: a box takes its bundle from a registry and builds only its own engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from edged.core.errors import ConfigError
from provisioning.recipe import run as run_module
from provisioning.recipe.pulled import Found, with_engine
from provisioning.recipe.run import Outcome, run_recipe
from provisioning.recipe.settings import ProvisionSettings
from provisioning.recipe.workshop import Workshop
from provisioning.registry.artifact import Blob
from provisioning.registry.connection import Access, Connection
from provisioning.registry.reference import parse_reference
from provisioning.store import Store
from tests.provisioning.fake_maker import FakeMaker
from tests.provisioning.registry.boxes import Box, add_bundle

KERNEL = FakeMaker(typed=False, decode="kernel")


@dataclass(frozen=True)
class Provisioned:
    """A box with a configuration of its own."""

    settings: ProvisionSettings

    def run(self, *, dry_run: bool = False) -> tuple[Outcome, str]:
        said: list[str] = []
        outcome = run_recipe(self.settings, force=False, dry_run=dry_run, say=said.append)
        return outcome, "\n".join(said)

    @property
    def active(self) -> str:
        bundle = Store(Path(self.settings.store)).active()
        return bundle.manifest.licence if bundle else ""


def configured(box: Box, folder: Path, tag: str, **more: object) -> Provisioned:
    values: dict[str, object] = {
        "name": "yard",
        "source": f"oci://{box.host}/boxes/yard:{tag}",
        "verify_key": str(box.keys / "bundles.pub"),
        "ca_file": box.access[box.access.index("--ca-file") + 1],
        "credentials": box.access[box.access.index("--credentials") + 1],
        "store": str(folder / "models"),
        "work": str(folder / "work"),
    }
    return Provisioned(ProvisionSettings.model_validate({**values, **more}))


def with_maker(monkeypatch: pytest.MonkeyPatch, maker: FakeMaker | None) -> None:
    monkeypatch.setattr(run_module, "maker_or_reason", lambda _settings: (maker, "" if maker else "no TensorRT here"))


def test_boxes_with_one_configuration_take_what_the_tag_means(
    box: Box, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_maker(monkeypatch, None)
    here = configured(box, tmp_path, "fleet")
    add_bundle(tmp_path / "first", store, licence="MIT")
    assert box.push(tmp_path / "first", "fleet") == 0
    assert (here.run(dry_run=True)[0].bundle, here.active) == (None, "")
    outcome, said = here.run()
    assert (outcome.changed, here.active) == (True, "MIT")
    assert "no TensorRT here" in said and "bytes fetched" in said
    assert outcome.left.startswith("no TensorRT here; on the device run: edged-provision build yard ")
    assert not here.run()[0].changed
    add_bundle(tmp_path / "second", store, licence="Apache-2.0")
    assert box.push(tmp_path / "second", "fleet") == 0
    assert (here.run()[0].changed, here.active) == (True, "Apache-2.0")


def test_a_box_with_tensorrt_builds_its_engine_of_what_it_pulled(
    box: Box, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_maker(monkeypatch, KERNEL)
    here = configured(box, tmp_path, "engine")
    assert box.push(store, "engine") == 0
    outcome, said = here.run()
    assert outcome.bundle is not None
    manifest = outcome.bundle.manifest
    assert ([engine.gpu for engine in manifest.engines], manifest.name) == (["Fake"], "yard")
    assert outcome.bundle.read("engine-fp16-fake.plan") == b"plan"
    assert manifest.provenance["registry"] == f"{box.host}/boxes/yard"
    assert [output.stage for output in outcome.outputs] == ["pull", "patch", "engine", "bundle"]
    again, said = here.run()
    assert (again.changed, "engine    up to date" in said) == (False, True)


def test_an_engine_of_a_quantised_bundle_needs_frames_to_be_verified_on(tmp_path: Path) -> None:
    source = "oci://registry.example.org/boxes/yard:1"
    settings = ProvisionSettings.model_validate({"source": source, "unsigned": True})
    connection = Connection(parse_reference(source), Access())
    blobs = {name: Blob(f"sha256:{'0' * 64}", 1) for name in ("manifest.json", "model.onnx", "model.int8.onnx")}
    workshop = Workshop(tmp_path, force=False, dry_run=False, say=lambda _line: None)
    quantised = Found(connection, "", blobs)
    with pytest.raises(ConfigError, match="frames is empty"):
        with_engine(quantised, quantised.suited(settings), workshop, KERNEL)
    del blobs["model.int8.onnx"]
    wanted = settings.model_copy(update={"precision": "int8"})
    with pytest.raises(ConfigError, match="has no INT8 graph"):
        with_engine(Found(connection, "", blobs), wanted, workshop, KERNEL)
