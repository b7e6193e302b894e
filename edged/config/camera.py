"""The keys of a camera: how to read it, and what to watch in its picture. etc/edged.toml explains what each is for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from annotated_types import MaxLen
from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from edged.capture.spec import ReadOptions, Source, parse_size, require_source
from edged.config.section import Section
from edged.config.watching import Line, Mask, Zone
from edged.core.names import require_camera_name
from edged.core.sources import ACCEPTED, SCHEMES, foreign_scheme, misspelt, scheme_of, without_credentials

MOST_TITLE = 100  # letters
# Placeholders in a source that has no usual place for them.
_USERNAME, _PASSWORD = "{username}", "{password}"


def _source(value: str) -> str:
    require_source(value)
    if scheme_of(value.strip()):
        value = value.strip()  # a multi-line string in TOML ends in a line break
    if foreign := foreign_scheme(value):
        raise ValueError(f"scheme {foreign} is not supported; use {ACCEPTED}")
    if (problem := misspelt(value)) and not Path(value).exists():
        raise ValueError(problem)
    return value


# What V4L2, FFmpeg and others call the formats of `pixel_format`.
_FORMATS = {
    **dict.fromkeys(("mjpg", "jpeg"), "mjpeg"),
    **dict.fromkeys(("yuyv422", "yuy2"), "yuyv"),
    **dict.fromkeys(("uyvy422",), "uyvy"),
    **dict.fromkeys(("yu12", "i420", "yuv420p"), "yuv420"),
    **dict.fromkeys(("422p", "yuv422p"), "yuv422"),
    **dict.fromkeys(("rgb3",), "rgb24"),
    **dict.fromkeys(("bgr3",), "bgr24"),
    **dict.fromkeys(("rgbp", "rgb565le"), "rgb565"),
    **dict.fromkeys(("gray", "gray8", "y8"), "grey"),
    **dict.fromkeys(("hevc",), "h265"),
}


def _camera_name(value: str) -> str:
    require_camera_name(value)
    return value


class Camera(Section, ReadOptions, frozen=True):
    """`[[camera]]`: how to read it, and what."""

    name: Annotated[str, AfterValidator(_camera_name)]
    title: Annotated[str, MaxLen(MOST_TITLE)] = ""
    enabled: bool = True
    source: Annotated[Source, Field(repr=False), AfterValidator(_source)]
    username: str = ""
    password: SecretStr = SecretStr("")
    password_file: Path | None = None
    zone: tuple[Zone, ...] = ()
    line: tuple[Line, ...] = ()
    mask: tuple[Mask, ...] = ()

    @field_validator("pixel_format", mode="before")
    @classmethod
    def _known_format(cls, value: object) -> object:
        return _FORMATS.get(value.lower(), value.lower()) if isinstance(value, str) else value

    @field_validator("size")
    @classmethod
    def _size(cls, value: str) -> str:
        parse_size(value)
        return value

    @model_validator(mode="after")
    def _credentials_have_a_place(self) -> Camera:
        password, placed = bool(self.password.get_secret_value()), self._has_places
        if placed and not self.username and _USERNAME in self.source:
            raise ValueError(f"source says where username and password go, but there is no username for {_USERNAME}")
        if placed and password != (_PASSWORD in self.source):
            lacks = f"no password for {_PASSWORD}" if not password else f"no {_PASSWORD} for the password"
            raise ValueError(f"source says where username and password go, but there is {lacks}")
        if not self.username and not placed and password:
            raise ValueError("a password is given without a username; add username")
        if self.username and not placed and scheme_of(self.source) not in SCHEMES:
            raise ValueError(
                "username and password go into a URL, and source is none; write rtsp://... or http://..., "
                f"put {_PASSWORD} where the password belongs, or remove them"
            )
        return self

    @model_validator(mode="after")
    def _keys_fit_the_source(self) -> Camera:
        scheme = scheme_of(self.source)
        if self.transport in {"udp", "multicast"} and scheme == "rtsps":
            raise ValueError(f'transport is "{self.transport}", but rtsps:// comes over TCP; remove it')
        if self.ca_file and not self.verify:
            raise ValueError("verify = false takes any certificate, so that ca_file is not used; remove one of them")
        if self.transport != "auto" and not scheme.startswith("rtsp"):
            raise ValueError("transport is of rtsp:// and rtsps://, and source is neither; remove it")
        if (self.ca_file or not self.verify) and scheme not in {"https", "rtsps"}:
            key = "ca_file" if self.ca_file else "verify"
            raise ValueError(f"{key} is about certificates of https:// and rtsps://, and source is neither; remove it")
        return self

    @property
    def _has_places(self) -> bool:
        return _USERNAME in self.source or _PASSWORD in self.source

    def source_with_credentials(self) -> str:
        """`source` with `username` and `password` in its URL, or in its placeholders. Never show it."""
        password = self.password.get_secret_value()
        if self._has_places:
            return _filled(_filled(self.source, _USERNAME, self.username), _PASSWORD, password)
        if not self.username:
            return self.source
        credentials = f"{quote(self.username, safe='')}:{quote(password, safe='')}"
        scheme, _, rest = without_credentials(self.source)[0].partition("://")
        return f"{scheme}://{credentials}@{rest}"


def _filled(source: str, place: str, value: str) -> str:
    """`value` at `place`: percent-encoded in a URL, quoted as the value of a GStreamer property."""
    if source.startswith("gst:"):
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        source = source.replace(f"={place}", f'="{quoted}"')
    return source.replace(place, quote(value, safe=""))
