"""Whose certificates a camera of https or rtsps may show."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trust:
    """As the keys of a camera.

    Attributes:
        verify: the camera must show a certificate for its name, from a trusted authority.
        ca_file: PEM of the authorities to trust instead of the system's; empty: the system's.
    """

    verify: bool = True
    ca_file: str = ""


USUAL = Trust()  # certificates are checked against the system's authorities
