"""One kernel launch as data: what runs, over which grid, with which arguments."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Launch:
    """A launch that can be repeated on any number of streams.

    Attributes:
        kernel: the kernel's name in its source.
        grid: blocks in x, y, z.
        block: threads of one block in x, y, z.
        args: the kernel's only argument, a structure passed by value; the caller keeps the memory alive to which it
            points.
    """

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    args: ctypes.Structure


LaunchOn = Callable[[Launch, int], None]
"""Puts a launch on the CUDA stream with the given handle; raises if the device refuses it."""
