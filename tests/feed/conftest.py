from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.feed.fed import Fed


@pytest.fixture
def fed(tmp_path: Path) -> Iterator[Fed]:
    fed = Fed(tmp_path / "feed.sock")
    yield fed
    fed.feed.close()
