"""Text as Windows tools write it is read; what is no text is refused with file, line and reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.core.errors import ConfigError, DataError
from edged.core.text import read_text

TEXT = 'names = ["Füße", "物体"]\nmore = 1\n'


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(TEXT.encode(), id="UTF-8"),
        pytest.param(TEXT.encode("utf-8-sig"), id="UTF-8 with a mark"),
        pytest.param(TEXT.encode("utf-16"), id="UTF-16, as PowerShell writes it"),
        pytest.param(b"\xfe\xff" + TEXT.encode("utf-16-be"), id="UTF-16, most significant byte first"),
        pytest.param(TEXT.encode("utf-16-le"), id="UTF-16 without a mark"),
        pytest.param(TEXT.encode("utf-16-be"), id="UTF-16 without a mark, most significant byte first"),
        pytest.param(TEXT.encode("utf-32"), id="UTF-32"),
    ],
)
def test_text_is_read_in_the_encoding_that_it_shows(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    assert read_text(tmp_path / "a.txt", limit=1000, error=DataError) == (TEXT if content else "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("a\nb\n物体\n".encode("gbk"), r"a\.txt: line 3 is not UTF-8: byte 0xce", id="GBK"),
        pytest.param("a\nMüller".encode("latin-1"), r"a\.txt: line 2 is not UTF-8: byte 0xfc", id="Latin-1"),
        pytest.param(b"\xff\xfea", r"a\.txt: line 1 is not UTF-16.*save the file as UTF-8", id="UTF-16 cut"),
        pytest.param(b"\xff\xfe", r"a\.txt: line 1 is not UTF-8", id="a mark alone"),
        pytest.param(b"x" * 1001, r"a\.txt: larger than 1000 bytes", id="too large"),
    ],
)
def test_what_is_no_text_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_text(tmp_path / "a.txt", limit=1000, error=ConfigError)
