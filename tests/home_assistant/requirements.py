"""Print what Home Assistant's integrations for these tests need beyond its own package: run it with its Python."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

WANTED = ("mqtt", "frontend", "api", "config")


def manifests(domains: list[str]) -> dict[str, dict[str, list[str]]]:
    """Manifests of integrations and of all that they depend on, by name."""
    found = find_spec("homeassistant")
    assert found is not None
    assert found.origin is not None
    waiting, read = list(domains), {}
    while waiting:
        domain = waiting.pop()
        if domain not in read:
            file = Path(found.origin).parent / "components" / domain / "manifest.json"
            read[domain] = json.loads(file.read_text(encoding="utf-8"))
            waiting += read[domain].get("dependencies", [])
    return read


if __name__ == "__main__":
    needed = {each for manifest in manifests([*WANTED]).values() for each in manifest.get("requirements", [])}
    sys.stdout.write("\n".join(sorted(needed)) + "\n")
