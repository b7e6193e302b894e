"""Documents name what there is, and only that."""

from __future__ import annotations

import re
from pathlib import Path

from edged.config import Settings
from edged.publish.topics import Topics

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_readme_names_every_topic() -> None:
    topics = Topics("box")
    paths = [topics.status, topics.info, topics.stats]
    paths += [topics.camera_status("CAM"), topics.camera_health("CAM"), topics.detections("CAM")]
    for path in paths:
        shown = path.removeprefix(topics.base + "/").replace("CAM", "<camera>")
        assert f"| `{shown}` |" in README


def test_readme_names_every_section_of_the_configuration() -> None:
    for name in Settings.model_fields:
        assert f"[{name}]" in README or f"[[{name}]]" in README


def test_links_in_documents_lead_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *ROOT.glob("[a-z]*/**/*.md")]:
        if ".venv" in document.parts:
            continue
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_makefile_targets_in_documents_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for document in ROOT.glob("*.md"):
        for target in re.findall(r"^make ([a-z-]+)", document.read_text(), flags=re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), f"{document.name}: make {target}"
