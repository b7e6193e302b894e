"""The error tree: one class per remedy, each with the exit code that systemd and scripts see.

EdgedError            70  any other failure of edged
├─ UsageError          2  the command line asks for something impossible
├─ ConfigError        78  edged.toml or its environment is wrong
├─ NotInstalled       78  a Python package is missing that this needs
├─ BundleMismatch     78  a valid bundle that does not fit this machine or this configuration
├─ DataError          65  bytes from outside (bundle, weights, picture, label) that are not what they claim
├─ Unreachable        69
│  ├─ CameraError     69  a camera or file cannot be opened, or its stream is lost
│  │  └─ DamagedFile  65  a file is there, but holds no video or picture that can be decoded
│  └─ BrokerError     69  the MQTT broker cannot be reached or refuses this client
├─ DetectorError      70  the device or the model failed while running
└─ OutputError        74  standard output cannot be written

Codes follow sysexits.h: 65 EX_DATAERR, 69 EX_UNAVAILABLE, 70 EX_SOFTWARE, 74 EX_IOERR, 78 EX_CONFIG.
"""

from typing import ClassVar

from edged.core.redact import redact


class EdgedError(Exception):
    """A failure with a message for a person: what, where, expected, got, how to mend it. Secrets are removed at once.

    Args:
        message: one sentence without a trailing full stop.
        remedy: what to do about it, appended after a semicolon.
    """

    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(redact(f"{message}; {remedy}" if remedy else message))


class UsageError(EdgedError):
    """The command line asks for something impossible."""

    exit_code = 2


class ConfigError(EdgedError):
    """The configuration file or its environment is wrong."""

    exit_code = 78


class NotInstalled(EdgedError):
    """A Python package is missing that is needed for what was asked."""

    exit_code = 78


class BundleMismatch(EdgedError):
    """The bundle is valid, but was made for another machine or lacks what is asked of it."""

    exit_code = 78


class DataError(EdgedError):
    """Bytes from outside are not what they claim to be."""

    exit_code = 65


class Unreachable(EdgedError):
    """Something beyond this process does not answer."""

    exit_code = 69


class CameraError(Unreachable):
    """A camera, stream or file cannot be opened, or was lost while reading."""


class DamagedFile(CameraError):
    """A file is there, but holds no video or picture that can be decoded, or not all that it announces."""

    exit_code = DataError.exit_code


class BrokerError(Unreachable):
    """The MQTT broker cannot be reached or refuses this client."""


class DetectorError(EdgedError):
    """The device or the model failed while running."""


class OutputError(EdgedError):
    """Standard output cannot be written, e.g. to a full disk."""

    exit_code = 74
