"""Execution contexts of TensorRT: a refusal is an error with its reason, and each is freed when its engine says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from edged.core.errors import DetectorError
from edged.gpu.protocols import TensorSpec

if TYPE_CHECKING:
    import tensorrt as trt


class HeldContext:
    """The only reference to a context: TensorRT frees one with its last reference, and a traceback holds many.

    Args:
        context: as TensorRT gave it; None where it gave none.
        reasons: what TensorRT's log said last.

    Raises:
        DetectorError: there is no context, or, from any method, TensorRT refused the call.
    """

    def __init__(self, context: trt.IExecutionContext | None, reasons: Callable[[], str]) -> None:
        self._context = context
        self._reasons = reasons
        self._get()

    def let_go(self) -> None:
        """Free it."""
        self._context = None

    def give_memory(self, address: int, nbytes: int) -> None:
        """Scratch memory on the device, `nbytes` from `address`."""
        context = self._get()
        if hasattr(context, "set_device_memory"):
            context.set_device_memory(address, nbytes)
        else:  # before 10
            context.device_memory = address

    def use_profile(self, profile: int, stream: int) -> None:
        """Take an optimisation profile, in the stream's order."""
        if not self._get().set_optimization_profile_async(profile, stream):
            raise DetectorError(f"TensorRT refused optimisation profile {profile}: {self._reasons()}")

    def set_shape(self, name: str, shape: tuple[int, ...]) -> None:
        """The shape of an input."""
        context = self._get()
        if not context.set_input_shape(name, shape):
            raise DetectorError(f"TensorRT refused the shape {list(shape)} for {name}: {self._reasons()}")
        missing = context.infer_shapes() if hasattr(context, "infer_shapes") else []
        if missing:
            raise DetectorError(f"TensorRT lacks a shape for {', '.join(missing)}")

    def bind(self, addresses: Mapping[str, int]) -> None:
        """Device addresses of tensors by name."""
        context = self._get()
        for name, address in addresses.items():
            if not context.set_tensor_address(name, address):
                raise DetectorError(f"TensorRT refused the address of {name}: {self._reasons()}")

    def enqueue(self, stream: int) -> None:
        """Run, in the stream's order."""
        if not self._get().execute_async_v3(stream):
            raise DetectorError(f"TensorRT could not enqueue the network: {self._reasons()}")

    def is_capturable(self, stream: int) -> bool:
        """Whether it says that a CUDA graph can hold it; those that cannot tell always can, as we build them."""
        asked = getattr(self._get(), "is_stream_capturable", None)
        return asked is None or bool(asked(stream))

    def _get(self) -> trt.IExecutionContext:
        if self._context is None:
            raise DetectorError(f"TensorRT made no execution context: {self._reasons()}")
        return self._context


class OwnedContext:
    """A context that only ever runs one batch size, so that a captured graph of it stays true.

    Args:
        context: shaped for that size.
        stream: on which it runs.
    """

    def __init__(self, context: HeldContext, stream: int) -> None:
        self._context = context
        self._stream = stream

    @property
    def can_be_captured(self) -> bool:
        """Whether a CUDA graph can hold it."""
        return self._context.is_capturable(self._stream)

    def bind(self, addresses: Mapping[str, int]) -> None:
        """Give every tensor its device address."""
        self._context.bind(addresses)

    def enqueue(self, stream: int) -> None:
        """Run."""
        self._context.enqueue(stream)


class SharedContext:
    """One context for several batch sizes: reshaped whenever another size comes than before."""

    def __init__(self, context: HeldContext, input_name: str, tensors: Mapping[str, TensorSpec]) -> None:
        self.context = context
        self.shaped_for = 0
        self._input = input_name
        self._rest = tensors[input_name].shape[1:]

    def sized(self, batch: int) -> SizedContext:
        """Its view for one batch size."""
        return SizedContext(self, batch)

    def reshape(self, batch: int) -> None:
        """Make ready for a batch size."""
        if self.shaped_for != batch:
            self.context.set_shape(self._input, (batch, *self._rest))
            self.shaped_for = batch


class SizedContext:
    """One batch size of a shared context. A graph of it would go stale with the next other size."""

    can_be_captured = False

    def __init__(self, shared: SharedContext, batch: int) -> None:
        self._shared = shared
        self._batch = batch

    def bind(self, addresses: Mapping[str, int]) -> None:
        """Give every tensor its device address; the same for all sizes."""
        self._shared.reshape(self._batch)
        self._shared.context.bind(addresses)

    def enqueue(self, stream: int) -> None:
        """Run."""
        self._shared.reshape(self._batch)
        self._shared.context.enqueue(stream)
