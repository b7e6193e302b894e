"""Protocols of a GPU device, an engine and a context, so that fakes can replace the hardware in tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from edged.core.types import Pixels
from plugins.yolo_layer.launch import Launch


class Gpu(Protocol):
    """One device and everything that was made on it. Addresses, streams, events and graphs are integer handles.

    One thread at a time calls it, except `pin` and `unpin`. `enter` makes the device current in that thread; all
    methods but `pin`, `unpin` and `close` need that. A handle is valid on its own device only. Every method raises
    DetectorError when the device refuses, and its subclass DeviceLost when only a new process helps.
    """

    def enter(self) -> None:
        """Make the device current in the calling thread; cheap where it is already."""
        ...

    def allocate(self, nbytes: int) -> int:
        """Allocate device memory, aligned to 256 bytes; returns its address."""
        ...

    def free(self, address: int) -> None:
        """Free memory of `allocate`."""
        ...

    def allocate_pinned(self, nbytes: int) -> Pixels:
        """Allocate page-locked host memory, (nbytes,) uint8; valid until `free_pinned` or `close`."""
        ...

    def free_pinned(self, memory: Pixels) -> None:
        """Free memory of `allocate_pinned`."""
        ...

    def pin(self, address: int, nbytes: int) -> None:
        """Page-lock host memory of another owner, so that copies from it need no staging. From any thread.

        It is pinned for all devices of the process; memory that is pinned already is refused.
        """
        ...

    def unpin(self, address: int) -> None:
        """Undo `pin`, before that memory is unmapped. From any thread."""
        ...

    def make_stream(self) -> int:
        """Make a stream that does not wait for the default one."""
        ...

    def make_event(self) -> int:
        """Make an event that can be recorded again and again."""
        ...

    def record(self, event: int, stream: int) -> None:
        """Record the event at this point of the stream."""
        ...

    def wait(self, stream: int, event: int) -> None:
        """Make the stream, not the caller, wait until the event is reached."""
        ...

    def is_reached(self, event: int) -> bool:
        """Whether the last recorded point of the event is reached; never blocks."""
        ...

    def elapsed_ms(self, start: int, end: int) -> float:
        """Milliseconds between two reached events."""
        ...

    def synchronize(self, stream: int) -> None:
        """Block until the stream is empty."""
        ...

    def upload(self, device: int, host: int, nbytes: int, stream: int) -> None:
        """Copy from host to device memory, in the stream's order."""
        ...

    def download(self, host: int, device: int, nbytes: int, stream: int) -> None:
        """Copy from device to host memory, in the stream's order."""
        ...

    def fill_zero(self, device: int, nbytes: int, stream: int) -> None:
        """Zero device memory, in the stream's order; `nbytes` is a multiple of 4."""
        ...

    def load(self, image: bytes, kernels: tuple[str, ...]) -> None:
        """Load compiled code; its kernels can be launched by name from then on."""
        ...

    def launch(self, launch: Launch, stream: int) -> None:
        """Run a loaded kernel, in the stream's order."""
        ...

    def capture(self, stream: int, work: Callable[[], None]) -> int:
        """Capture a graph of what `work` puts on the stream, for `replay`; nothing runs yet."""
        ...

    def replay(self, graph: int, stream: int) -> None:
        """Run a captured graph, in the stream's order."""
        ...

    def close(self) -> None:
        """Free everything that is left and release the device; safe to call twice, raises nothing."""
        ...


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of an engine.

    Attributes:
        shape: with -1 for the batch.
        dtype: `float32`, `float16` or `int32`, as numpy names it.
        is_input: an input, else an output.
    """

    shape: tuple[int, ...]
    dtype: str
    is_input: bool


class Context(Protocol):
    """An engine set up for one batch size."""

    @property
    def can_be_captured(self) -> bool:
        """Whether a captured graph of it stays valid: no other batch size changes its shapes."""
        ...

    def bind(self, addresses: Mapping[str, int]) -> None:
        """Set the device address of every tensor."""
        ...

    def enqueue(self, stream: int) -> None:
        """Run the network, in the stream's order."""
        ...


class Engine(Protocol):
    """A loaded engine."""

    @property
    def tensors(self) -> Mapping[str, TensorSpec]:
        """All inputs and outputs by name."""
        ...

    @property
    def max_batch(self) -> int:
        """Largest batch that it runs."""
        ...

    def make_context(self, batch: int, stream: int) -> Context:
        """Make a context for one batch size. Contexts of an engine may share scratch memory: never run two at once."""
        ...

    def close(self) -> None:
        """Free the engine and its contexts; safe to call twice."""
        ...
