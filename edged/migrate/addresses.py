"""A camera's address out of Frigate's, with its secrets taken out: what replaces them is said, never shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import unquote

from edged.core.redact import holds_secret
from edged.core.sources import SCHEMES, scheme_of
from edged.migrate.sections import LeftOut, Section, number_of, wrong

_RESTREAM = re.compile(r"rtsps?://(?:[^/?#]*@)?(?:127\.0\.0\.1|localhost|\[::1\]):8554/([^/?#]+)")
_VARIABLE = re.compile(r"\{(FRIGATE_\w+)\}")
# `name=value` as cameras write it in a query or in the path; a value ends where the next pair begins, but not at what
# ends in the filling of base64: `/name==`.
_NAME = r"[A-Za-z][A-Za-z0-9-]*"
_PAIR = re.compile(rf"({_NAME})=((?:(?![&;]{_NAME}=|[,_/?!]{_NAME}=[^=&;]).)+)", re.DOTALL)
_PASSWORD = re.compile(
    r".*(?:pas|pwd|psw|psd|secret|tok|auth|cred|sign).*|p|pw|sid|session(?:-?id)?|(?:.*-)?key|sig", re.IGNORECASE
)
_USER = re.compile(r"u|user(?:-?name|-?id)?|usr|login(?:-?use|-?name|-?user)?|account", re.IGNORECASE)
_UDP = re.compile(r"preset-rtsp-udp|-rtsp_transport\s+udp\b")
_AMBIGUOUS = (
    "its address holds an @ behind its host, so that the end of the password cannot be told;"
    " write @ / ? # of a password as %40 %2F %3F %23 there, or write source and username by hand"
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a camera is read from.

    Attributes:
        source: without user and password.
        username: as written; empty where there is none.
        user_variable, password_variable: Frigate's variable that holds it; empty where none does.
        has_password: Frigate gives one.
        placed: the source with `{username}` and `{password}`, where they stand inside the address; else empty.
        remarks: what a reader should know.
        variables: of Frigate's, that are still in the source.
    """

    source: str
    username: str = ""
    user_variable: str = ""
    has_password: bool = False
    password_variable: str = ""
    placed: str = ""
    remarks: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()


def camera_address(camera: Section, go2rtc: Section) -> Address:
    """The address of the stream that Frigate detects on.

    Args:
        camera: of Frigate's `cameras`.
        go2rtc: of the file; a restream of its own is followed to the first source of the stream.

    Raises:
        LeftOut: there is none, or one that cannot be told from its password.
        DataError: a value of another type.
    """
    path = _detect_input(camera).text("path").strip()
    if not path:
        raise LeftOut("its detect input has no path")
    path, remarks = _behind_restream(path, go2rtc)
    address = _without_keyed(_without_user(path))
    if holds_secret(address.source):
        raise LeftOut("its address holds a password at an unusual place; write source and username by hand")
    variables = tuple(dict.fromkeys(_VARIABLE.findall(address.source)))
    if address.source.startswith("/") and not address.source.startswith("/dev/"):
        remarks += ("a path inside Frigate's container: it must be there for edged, too",)
    return replace(address, remarks=(*remarks, *address.remarks), variables=variables)


def is_over_udp(camera: Section, ffmpeg: Section) -> bool:
    """Whether Frigate has RTSP's pictures come over UDP.

    Args:
        camera: of Frigate's `cameras`, with an input for detection.
        ffmpeg: of the file; holds where the camera says nothing.
    """
    for section in (_detect_input(camera), camera.section("ffmpeg"), ffmpeg):
        if (given := section.words("input_args")) is not None:
            return bool(_UDP.search(" ".join(given)))
    return False


def other_inputs(camera: Section) -> int:
    """How many inputs there are beside the one that is read."""
    return max(len(camera.section("ffmpeg").listed("inputs")) - 1, 0)


def _detect_input(camera: Section) -> Section:
    inputs = camera.section("ffmpeg").listed("inputs")
    if not inputs:
        raise LeftOut("it has no ffmpeg.inputs")
    if len(inputs) == 1:
        return inputs[0]
    detecting = [each for each in inputs if "detect" in (each.words("roles") or ())]
    if len(detecting) != 1:
        raise LeftOut(f"{len(detecting)} of its {len(inputs)} inputs have the role detect, expected one")
    return detecting[0]


def _behind_restream(path: str, go2rtc: Section) -> tuple[str, tuple[str, ...]]:
    """The camera's own address where `path` is a restream of Frigate's go2rtc; and what is to be said of it."""
    match = _RESTREAM.match(path)
    if not match:
        return path, ()
    name = match[1]
    first = _first_source(go2rtc.section("streams"), name)
    plain, _, options = first.removeprefix("ffmpeg:").partition("#")  # "#video=copy#backchannel=0" is for go2rtc
    if "@" in options:
        raise LeftOut(_AMBIGUOUS)
    if scheme_of(plain) not in SCHEMES:
        kept = f"rtsp://127.0.0.1:8554/{name}"
        problem = "is no address that edged reads" if first else "is not in the file"
        return kept, (f"the first source of go2rtc's {name} {problem}: keep go2rtc running, or name the camera itself",)
    remarks = [f"Frigate read this through go2rtc, stream {name}"]
    if "rotate=" in options:
        remarks.append("go2rtc turned its picture: set rotate, in degrees clockwise, so that zones and masks fit")
    return plain, tuple(remarks)


def _first_source(streams: Section, name: str) -> str:
    node = streams.node(name)
    if node is None:
        return ""
    if isinstance(node.value, dict):
        raise wrong(node, "an address or a list of such")
    if not isinstance(node.value, tuple):
        return streams.text(name).strip()
    first = node.value[0] if node.value else None
    if first is not None and (isinstance(first.value, (dict, tuple)) or number_of(first) is not None):
        raise wrong(first, "an address")
    return first.text.strip() if first else ""


def _without_user(url: str) -> Address:
    """Takes `user:password@` out of a URL."""
    if not scheme_of(url):
        return Address(url)
    scheme, _, rest = url.partition("://")
    head = re.split(r"[/?#]", rest, maxsplit=1)[0]
    tail = rest[len(head) :]
    credentials, at, host = head.rpartition("@")
    if "@" in tail and (at or ":" in head):
        raise LeftOut(_AMBIGUOUS)
    source = f"{scheme}://{host}{tail}"
    user, colon, password = credentials.partition(":")
    if user and not colon:
        # It may be a token, which is a secret.
        return Address(
            source, remarks=("its address names a user, or a token, without a password: give it as username",)
        )
    return _with_user(Address(source), user, password)


def _without_keyed(address: Address) -> Address:
    """Takes the values of `user=` and `password=` out of a URL; without a password all of it stays."""
    pairs = list(_PAIR.finditer(address.source))
    passwords = [pair for pair in pairs if _PASSWORD.fullmatch(pair[1])]
    if not passwords:
        return address
    users = [pair for pair in pairs if _USER.fullmatch(pair[1])]
    blank = _filled(address.source, dict.fromkeys([*passwords, *users], ""))
    if len(passwords) > 1 or len(users) > 1 or address.username or address.has_password:
        names = ", ".join(pair[1] for pair in passwords)
        more = f"secrets in its address are left out ({names}): write them by hand, into a file that only edged reads"
        return replace(address, source=blank, remarks=(*address.remarks, more))
    places = {**dict.fromkeys(passwords, "{password}"), **dict.fromkeys(users, "{username}")}
    placed = _filled(address.source, places)
    user = users[0][2] if users else ""
    return _with_user(replace(address, source=blank, placed=placed), user, passwords[0][2])


def _filled(text: str, values: dict[re.Match[str], str]) -> str:
    for pair, value in sorted(values.items(), key=lambda item: -item[0].start()):
        text = text[: pair.start(2)] + value + text[pair.end(2) :]
    return text


def _with_user(address: Address, user: str, password: str) -> Address:
    user_variable, password_variable = _VARIABLE.search(user), _VARIABLE.search(password)
    return replace(
        address,
        username="" if user_variable else unquote(user),
        user_variable=user_variable[1] if user_variable else "",
        has_password=bool(password),
        password_variable=password_variable[1] if password_variable else "",
    )
