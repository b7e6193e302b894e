"""One kernel launch as data: what runs, over which grid, with which arguments."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Launch:
    """A launch that any number of streams may repeat.

    Attributes:
        kernel: the kernel's name in its source.
        grid: blocks in x, y, z.
        block: threads of a block in x, y, z.
        args: the kernel's single argument, a structure passed by value; the caller keeps the memory it points at.
    """

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    args: ctypes.Structure


LaunchOn = Callable[[Launch, int], None]
"""Puts a launch on the stream with the given handle; raises when the device refuses it."""
