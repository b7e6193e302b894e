"""The seams of the GPU: a device, an engine, a context. The real ones need hardware; fakes of them need none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from edged.core.types import Pixels
from plugins.yolo_layer.launch import Launch


class Gpu(Protocol):
    """One device and everything that was made on it. Addresses, streams, events and graphs are plain handles.

    One thread at a time calls it, except for `pin` and `unpin`; but for these and `close` it must be current there,
    which `enter` makes it. What one device made means nothing to another. Every method raises DetectorError when the
    device refuses, and its subclass DeviceLost when nothing but a new process helps.
    """

    def enter(self) -> None:
        """Make the device current in the calling thread; cheap where it is already."""
        ...

    def allocate(self, nbytes: int) -> int:
        """Device memory, aligned to 256 bytes; its address."""
        ...

    def free(self, address: int) -> None:
        """Give back what `allocate` gave."""
        ...

    def allocate_pinned(self, nbytes: int) -> Pixels:
        """Page-locked host memory, (nbytes,) uint8; it lives until `free_pinned` or `close`."""
        ...

    def free_pinned(self, memory: Pixels) -> None:
        """Give back what `allocate_pinned` gave."""
        ...

    def pin(self, address: int, nbytes: int) -> None:
        """Page-lock host memory that somebody else owns, so that copies from it need no staging. From any thread.

        It is pinned for all devices of the process; memory that one of them has pinned is refused by the others.
        """
        ...

    def unpin(self, address: int) -> None:
        """Undo `pin`, before that memory is unmapped. From any thread."""
        ...

    def make_stream(self) -> int:
        """A stream that does not wait for the default one."""
        ...

    def make_event(self) -> int:
        """An event that can be recorded again and again."""
        ...

    def record(self, event: int, stream: int) -> None:
        """Mark this point of the stream."""
        ...

    def wait(self, stream: int, event: int) -> None:
        """Hold the stream, not the caller, until the event's last mark is reached."""
        ...

    def is_reached(self, event: int) -> bool:
        """Whether the event's last mark is reached; never blocks."""
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
        """A graph of what `work` puts on the stream, ready to be replayed; nothing runs yet."""
        ...

    def replay(self, graph: int, stream: int) -> None:
        """Run a graph, in the stream's order."""
        ...

    def close(self) -> None:
        """Free everything that is left and leave the device; safe to call twice, raises nothing."""
        ...


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of an engine.

    Attributes:
        shape: with -1 for the batch.
        dtype: `float32`, `float16` or `int32`, as numpy names it.
        is_input: else output.
    """

    shape: tuple[int, ...]
    dtype: str
    is_input: bool


class Context(Protocol):
    """An engine set up for one batch size."""

    @property
    def can_be_captured(self) -> bool:
        """Whether a graph of it stays true: nothing else ever reshapes it."""
        ...

    def bind(self, addresses: Mapping[str, int]) -> None:
        """Give every tensor its device address."""
        ...

    def enqueue(self, stream: int) -> None:
        """Run, in the stream's order."""
        ...


class Engine(Protocol):
    """A loaded network."""

    @property
    def tensors(self) -> Mapping[str, TensorSpec]:
        """All inputs and outputs by name."""
        ...

    @property
    def max_batch(self) -> int:
        """Largest batch that it runs."""
        ...

    def make_context(self, batch: int, stream: int) -> Context:
        """Set up for one batch size. Contexts of one engine may share scratch memory: never run two at once."""
        ...

    def close(self) -> None:
        """Free the engine and its contexts; safe to call twice."""
        ...
