"""The weights that `fetch` knows by name: where they lie, what they must hash to, and their licence.

A digest counts as verified where it was compared with a file that came from that address. A stated one was read in
public sources that agree; it takes `--trust-first`, and a file of any other digest is refused all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edged.core.errors import UsageError

AGPL = "AGPL-3.0"
APACHE = "Apache-2.0"
RELEASES = ("5.0", "6.0", "6.1", "6.2", "7.0")
YOLOV5_NOTE = (
    "official YOLOv5 weights are licensed AGPL-3.0 by Ultralytics (enterprise licences are sold); "
    "whoever offers a service with them has to meet that licence"
)
_VERIFIED: Mapping[tuple[str, str], str] = MappingProxyType(
    {("yolov5n", "7.0"): "4f180cf23ba0717ada0badd6c685026d73d48f184d00fc159c2641284b2ac0a3"}
)
_YOLOV5 = re.compile(r"(yolov5[nsmlx])(?:\.pt)?(?:@v?(\d+\.\d+))?")
_YOLOX = "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0"
_OPENMMLAB = "https://download.openmmlab.com/mmpose/v1/projects/rtmposev1/onnx_sdk"


@dataclass(frozen=True, slots=True)
class Source:
    """Where weights come from.

    Attributes:
        url: http or https.
        file_name: of the weights on this machine.
        sha256: the expected digest of the weights, lower-case hex; empty if unknown.
        licence: SPDX identifier, or `unknown`.
        stated: the digest was published by others, and nobody here compared it with the file.
        member: name of the weights inside the zip file that the address gives; empty if it gives the weights.
        about: what the weights are, in some words; empty for an address.
        note: what a user of them should know, said after the download.
    """

    url: str
    file_name: str
    sha256: str
    licence: str
    stated: bool = False
    member: str = ""
    about: str = ""
    note: str = ""

    @property
    def hash_state(self) -> str:
        """What is known of the digest: `verified`, `stated` or `unknown`."""
        return ("stated" if self.stated else "verified") if self.sha256 else "unknown"


def _yolox(size: str, sha256: str, about: str) -> Source:
    return Source(
        url=f"{_YOLOX}/yolox_{size}.onnx",
        file_name=f"yolox-{size}.onnx",
        sha256=sha256,
        licence=APACHE,
        stated=True,
        about=f"{about}, 80 COCO classes",
    )


_ONNX: Mapping[str, Source] = MappingProxyType(
    {
        "rtmdet-nano-person": Source(
            url=f"{_OPENMMLAB}/rtmdet_nano_8xb32-100e_coco-obj365-person-05d8511e.zip",
            file_name="rtmdet-nano-person.onnx",
            sha256="8297e829ccc5590c8e2d32d5a211f322a0585fb7467eec85eb12c9525b0b95d6",
            licence=APACHE,
            stated=True,
            member="end2end.onnx",
            about="people, 320x320",
        ),
        "yolox-nano": _yolox("nano", "c789161ed43c8269fcd4e67c67eeeb4e80c622da2eb296a20bc6007bd18a0b7d", "416x416"),
        "yolox-tiny": _yolox("tiny", "427cc366d34e27ff7a03e2899b5e3671425c262ea2291f88bb942bc1cc70b0f7", "416x416"),
        "yolox-s": _yolox("s", "c5c2d13e59ae883e6af3b45daea64af4833a4951c92d116ec270d9ddbe998063", "640x640"),
    }
)


def known(name: str) -> Source | None:
    """The weights of that name, such as `yolox-nano`, `yolov5s` or `yolov5s@6.2` (default 7.0); None for other text.

    Raises:
        UsageError: that YOLOv5 release does not exist, or not in that size.
    """
    match = _YOLOV5.fullmatch(name)
    if match is None:
        return _ONNX.get(name)
    size, release = match[1], match[2] or RELEASES[-1]
    if release not in RELEASES or (size == "yolov5n" and release == "5.0"):
        raise UsageError(f"there is no {size} in YOLOv5 release {release}", remedy=f"releases: {', '.join(RELEASES)}")
    return Source(
        url=f"https://github.com/ultralytics/yolov5/releases/download/v{release}/{size}.pt",
        file_name=f"{size}-{release}.pt",
        sha256=_VERIFIED.get((size, release), ""),
        licence=AGPL,
        about="640x640 or any other size, 80 COCO classes",
        note=YOLOV5_NOTE,
    )


def catalogue() -> Iterator[tuple[str, Source]]:
    """Every name with its weights, of YOLOv5 those of the latest release."""
    for size in "nsmlx":
        if source := known(f"yolov5{size}"):
            yield f"yolov5{size}", source
    yield from _ONNX.items()


def licence_of(sha256: str) -> str:
    """The licence of the known weights with that digest; empty for others."""
    return next((source.licence for _name, source in catalogue() if source.sha256 == sha256), "")
