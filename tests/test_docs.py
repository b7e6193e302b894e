"""Documents name what there is, and only that."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edged.assembly.options import mqtt_options
from edged.assembly.parts import FIXED_SECTIONS
from edged.config import Settings, load_settings
from edged.publish.topics import Topics

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
MESSAGES = (ROOT / "docs" / "messages.md").read_text()
BROKERS = (ROOT / "docs" / "brokers.md").read_text()
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()
USER_DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
LONGEST_README = 1000  # words
LARGEST_PICTURE = 200_000  # bytes


def test_messages_names_every_topic() -> None:
    topics = Topics("box")
    paths = [topics.status, topics.info, topics.stats]
    paths += [topics.camera_status("CAM"), topics.camera_health("CAM"), topics.detections("CAM")]
    for path in paths:
        shown = path.removeprefix(topics.base + "/").replace("CAM", "<camera>")
        assert f"| `{shown}` |" in MESSAGES


def test_configuration_names_every_section() -> None:
    for name in Settings.model_fields:
        assert any(head in CONFIGURATION for head in (f"[{name}]", f"[[{name}]]", f"[{name}."))


def test_configuration_names_every_section_that_waits_for_a_restart() -> None:
    waits = CONFIGURATION.split("## Reload")[1]
    named = [f"`[{name}]`" for name in FIXED_SECTIONS]
    assert f"{', '.join(named[:-1])} and {named[-1]} wait for a restart" in " ".join(waits.split())


def test_configuration_in_readme_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "edged.toml"
    config.write_text(re.findall(r"```toml\n(.*?)```", README, flags=re.DOTALL)[0])
    (tmp_path / "gate-password").write_text("secret\n")
    config.chmod(0o600)
    assert [camera.name for camera in load_settings(config).camera] == ["gate"]


@pytest.mark.parametrize("example", re.findall(r"```toml\n(.*?)```", BROKERS, flags=re.DOTALL))
def test_configurations_of_brokers_are_accepted(tmp_path: Path, example: str) -> None:
    config = tmp_path / "edged.toml"
    (tmp_path / "sas-token").write_text("SharedAccessSignature sr=a&sig=b&se=c\n")
    text = example.replace("/etc/edged/sas-token", f"{tmp_path}/sas-token")
    config.write_text(f'{text}\n[[camera]]\nname = "gate"\nsource = "gate.mp4"\n')
    assert mqtt_options(load_settings(config).mqtt).tls


def test_readme_is_short_and_leads_to_every_page() -> None:
    assert len(README.split()) <= LONGEST_README
    for page in ROOT.glob("docs/*.md"):
        assert f"](docs/{page.name})" in README, f"README does not link to {page.name}"


def test_pictures_in_documents_are_small() -> None:
    shown = [picture for document in USER_DOCUMENTS for picture in _pictures(document)]
    assert shown
    for picture in shown:
        assert picture.stat().st_size < LARGEST_PICTURE, picture


def _pictures(document: Path) -> list[Path]:
    return [document.parent / target for target in re.findall(r"!\[[^]]*\]\(([^)]+)\)", document.read_text())]


def test_links_in_documents_lead_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *ROOT.glob("[a-z]*/**/*.md")]:
        if {".venv", "build"} & {*document.relative_to(ROOT).parts}:  # `make wheels` leaves copies there
            continue
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_makefile_targets_in_documents_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for document in USER_DOCUMENTS:
        for target in re.findall(r"^make ([a-z-]+)", document.read_text(), flags=re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), f"{document.name}: make {target}"
