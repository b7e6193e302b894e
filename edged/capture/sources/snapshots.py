"""A camera that gives one picture for each request (`http://CAMERA/snapshot.jpg`), asked again and again."""

from __future__ import annotations

import time
from collections.abc import Callable

import requests
from requests.auth import HTTPBasicAuth, HTTPDigestAuth

from edged.capture.sources.authorities import authorities
from edged.capture.sources.fetching import NotNow, Refused, fetch, parted
from edged.capture.sources.pictures import DEFAULT_FPS, decode_picture
from edged.capture.sources.stream import RefusedError, StreamInfo
from edged.capture.spec import CameraSpec
from edged.core.errors import CameraError
from edged.core.sources import scheme_of
from edged.core.types import Pixels

Rest = Callable[[float, str], None]


class SnapshotStream:
    """Pictures from one address, `fps` a second. Implements `Stream`.

    One connection is kept. A picture that has not changed (ETag, Last-Modified) is not sent again, and counts as a new
    frame: the camera says that this is what it sees now. `Retry-After` is obeyed.

    Args:
        spec: the camera; with `loop = false` there is one picture only.
        rest: waits some seconds, may return early; the text says what for, where that is worth a word.

    Raises:
        CameraError: there is no picture.
    """

    def __init__(self, spec: CameraSpec, *, rest: Rest) -> None:
        self._spec = spec
        self._location = spec.shown_source
        self._rest = rest
        self._step_s = 1 / (spec.fps or DEFAULT_FPS)
        self._url, self._user = parted(spec.source)
        self._session = requests.Session()
        self._verify = self._trusted()
        self._unchanged: dict[str, str] = {}  # headers that ask whether there is another picture
        self._due_s = time.monotonic()
        self._given = 0
        self._data = b""
        self.damaged = self.overtaken = 0
        try:
            self._data = self._ask()
        except BaseException:
            self.close()
            raise

    @property
    def info(self) -> StreamInfo:
        """What is being read; the rate is what is asked for."""
        return StreamInfo(decoder="HTTP snapshots, OpenCV", live=True, fps=1 / self._step_s, may_freeze=True)

    @property
    def position_s(self) -> float:
        """Always 0: these are live."""
        return 0.0

    @property
    def location(self) -> str:
        """The address without secrets."""
        return self._location

    def grab(self) -> bool:
        """Wait until the next picture is due and fetch it. False: there was to be one only.

        Raises:
            CameraError: the camera does not answer, or gives no picture.
        """
        self._given += 1
        if self._given == 1:
            return True  # fetched when it was opened
        if not self._spec.loop:
            return False
        self._due_s = max(self._due_s + self._step_s, time.monotonic() - self._step_s)
        self._wait(self._due_s - time.monotonic(), "")
        self._data = self._ask()
        return True

    def retrieve(self, into: Pixels | None) -> Pixels:
        """Decode the picture into a new array, (H, W, 3) uint8 BGR.

        Raises:
            DataError: it cannot be decoded; the next may.
        """
        del into  # imdecode always allocates
        return decode_picture(self._data, self._location, max_pixels=self._spec.max_pixels)

    def close(self) -> None:
        """Close the connection; safe to call twice."""
        self._session.close()

    def _ask(self) -> bytes:
        """The present picture's bytes; waits for as long as the camera asks to be left alone."""
        while True:
            try:
                answer = fetch(self._session, self._url, spec=self._spec, headers=self._unchanged, verify=self._verify)
            except NotNow as exc:
                self._wait(exc.after_s, str(exc))
            except Refused as exc:
                self._log_in(exc)
            else:
                self._unchanged = answer.validators
                if answer.content is None and not self._data:
                    raise CameraError(f"{self._location}: HTTP 304, not modified, before there was a picture")
                return self._data if answer.content is None else answer.content

    def _log_in(self, refused: Refused) -> None:
        """Send user and password from now on, in the way that the camera wants.

        Raises:
            RefusedError: there are none, or they were sent.
        """
        if not self._user or self._session.auth:
            raise RefusedError(f"{self._location} cannot be opened: {refused}") from refused
        if refused.digest:
            self._session.auth = HTTPDigestAuth(*self._user)
        else:  # as bytes: of text requests makes Latin-1, which lacks most letters
            self._session.auth = HTTPBasicAuth(*(part.encode() for part in self._user))

    def _wait(self, seconds: float, reason: str) -> None:
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            self._rest(left_s, reason)

    def _trusted(self) -> bool | str:
        if scheme_of(self._spec.source) != "https" or not self._spec.verify:
            return self._spec.verify
        return authorities(self._spec)
