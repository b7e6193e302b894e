"""What messages say of where they come from."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.publish import identity
from edged.publish.identity import boot_id, origin


@pytest.fixture(autouse=True)
def _read_anew() -> Iterator[None]:
    boot_id.cache_clear()
    yield
    boot_id.cache_clear()


def test_the_boot_is_the_kernels() -> None:
    here = origin(device="gate", model="street", classes=["person"])
    assert here.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_without_the_kernels_id_messages_and_outbox_agree(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(identity, "_BOOT_ID_FILE", tmp_path / "none")
    here = origin(device="gate", model="street", classes=["person"])
    assert str(uuid.UUID(here.boot_id)) == here.boot_id
    assert boot_id() == here.boot_id
