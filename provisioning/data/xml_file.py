"""Reads small XML files of annotation tools, in the encoding that they declare."""

from __future__ import annotations

import codecs
import re
import xml.etree.ElementTree as ET
from pathlib import Path

from edged.core.errors import DataError
from edged.core.text import decoded_text, marked_encoding, undecodable

MAX_XML_BYTES = 4 << 20
_DECLARED = re.compile(rb"""\s*<\?xml\s[^>]*?\bencoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]*)["']""")
# In practice, files in these encodings use the larger Windows variants.
_SUPERSETS = {"gb2312": "gb18030", "gbk": "gb18030", "shift-jis": "cp932", "euc-kr": "cp949"}
_NO_ENCODINGS = {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"}


def read_xml(path: Path) -> ET.Element:
    """Parse a file and return its root element.

    Raises:
        DataError: it cannot be read, is empty or too large, is not in its declared encoding, declares entities, or is
            not XML. The message does not name the file.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_XML_BYTES + 1)
    except OSError as exc:
        raise DataError(f"cannot be read: {exc.strerror}") from exc
    if not content or len(content) > MAX_XML_BYTES:
        raise DataError(f"empty, or larger than {MAX_XML_BYTES} bytes")
    text = _text(content)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError("declares entities, which no annotation needs; refused")
    try:
        return ET.fromstring(text.lstrip())  # noqa: S314  # entities, the only danger in it, are refused above
    except (ET.ParseError, ValueError) as exc:  # ValueError: a character that UTF-8 cannot hold
        raise DataError(f"not well-formed XML: {exc}") from exc


def _text(content: bytes) -> str:
    """Decode by byte order mark, else by the declaration, else as UTF-8. The XML parser knows few encodings."""
    declared = _DECLARED.match(content)
    try:
        if declared is None or marked_encoding(content):
            return decoded_text(content)
        return _as_declared(content, _codec(declared[1].decode("ascii")))
    except UnicodeDecodeError as exc:
        said = f"; it declares {declared[1].decode('ascii')}" if declared else "; it declares no other encoding"
        raise DataError(undecodable(exc) + said, remedy="save it in what it declares, or as UTF-8") from exc


def _as_declared(content: bytes, codec: str) -> str:
    """Decode with the codec, else as UTF-8 (editors keep an old declaration), else with the codec's superset."""
    for name in (codec, "utf-8"):
        try:
            return content.decode(name)
        except UnicodeDecodeError:
            continue
    return content.decode(_SUPERSETS.get(codec, codec))


def _codec(declared: str) -> str:
    """The Python codec for an encoding's name in XML; DataError if it is unknown."""
    try:
        name = codecs.lookup(declared).name.replace("_", "-")
    except LookupError:
        name = ""
    if name.startswith(("utf-16", "utf-32")):
        return "utf-8"  # the declaration was readable as bytes: .NET declares UTF-16, then saves as UTF-8
    if not name or name in _NO_ENCODINGS or not _is_text(name):
        raise DataError(f"declares the encoding {declared!r}, which is not known here", remedy="save it as UTF-8")
    return name


def _is_text(name: str) -> bool:
    try:
        return b"<?xml".decode(name) == "<?xml"  # false for EBCDIC; codecs from bytes to bytes raise
    except (LookupError, UnicodeError):
        return False
