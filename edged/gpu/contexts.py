"""Execution contexts of TensorRT: a refused call is an error with its reason, and the engine frees them explicitly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from edged.core.errors import DetectorError
from edged.gpu.protocols import TensorSpec

if TYPE_CHECKING:
    import tensorrt as trt


class HeldContext:
    """The only reference to a context: TensorRT frees it with the last reference, and tracebacks would hold some.

    Args:
        context: as TensorRT made it; None where it made none.
        reasons: gives the last lines of TensorRT's log.

    Raises:
        DetectorError: there is no context, or, from any method, TensorRT refused the call.
    """

    def __init__(self, context: trt.IExecutionContext | None, reasons: Callable[[], str]) -> None:
        self._context = context
        self._reasons = reasons
        self._get()

    def let_go(self) -> None:
        """Free the context."""
        self._context = None

    def give_memory(self, address: int, nbytes: int) -> None:
        """Give the context scratch memory on the device: `nbytes` at `address`."""
        context = self._get()
        if hasattr(context, "set_device_memory"):
            context.set_device_memory(address, nbytes)
        else:  # before 10
            context.device_memory = address

    def use_profile(self, profile: int, stream: int) -> None:
        """Set the optimisation profile, in the stream's order."""
        if not self._get().set_optimization_profile_async(profile, stream):
            raise DetectorError(f"TensorRT refused optimisation profile {profile}: {self._reasons()}")

    def set_shape(self, name: str, shape: tuple[int, ...]) -> None:
        """Set the shape of an input."""
        context = self._get()
        if not context.set_input_shape(name, shape):
            raise DetectorError(f"TensorRT refused the shape {list(shape)} for {name}: {self._reasons()}")
        missing = context.infer_shapes() if hasattr(context, "infer_shapes") else []
        if missing:
            raise DetectorError(f"TensorRT lacks a shape for {', '.join(missing)}")

    def bind(self, addresses: Mapping[str, int]) -> None:
        """Set the device addresses of tensors by name."""
        context = self._get()
        for name, address in addresses.items():
            if not context.set_tensor_address(name, address):
                raise DetectorError(f"TensorRT refused the address of {name}: {self._reasons()}")

    def enqueue(self, stream: int) -> None:
        """Run the network, in the stream's order."""
        if not self._get().execute_async_v3(stream):
            raise DetectorError(f"TensorRT could not enqueue the network: {self._reasons()}")

    def is_capturable(self, stream: int) -> bool:
        """Whether a CUDA graph can hold it; contexts without that method always can, the way edged builds engines."""
        asked = getattr(self._get(), "is_stream_capturable", None)
        return asked is None or bool(asked(stream))

    def _get(self) -> trt.IExecutionContext:
        if self._context is None:
            raise DetectorError(f"TensorRT made no execution context: {self._reasons()}")
        return self._context


class OwnedContext:
    """A context that runs one batch size only, so that a captured graph of it stays valid.

    Args:
        context: its shapes are set for that size.
        stream: the stream that it runs on.
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
        """Run the network, in the stream's order."""
        self._context.enqueue(stream)


class SharedContext:
    """One context for all batch sizes: its shapes are set again whenever the batch size changes."""

    def __init__(self, context: HeldContext, input_name: str, tensors: Mapping[str, TensorSpec]) -> None:
        self.context = context
        self.shaped_for = 0
        self._input = input_name
        self._rest = tensors[input_name].shape[1:]

    def sized(self, batch: int) -> SizedContext:
        """A `Context` for one batch size."""
        return SizedContext(self, batch)

    def reshape(self, batch: int) -> None:
        """Set the shapes for a batch size, if they are not."""
        if self.shaped_for != batch:
            self.context.set_shape(self._input, (batch, *self._rest))
            self.shaped_for = batch


class SizedContext:
    """One batch size of a shared context. A captured graph of it would be invalid after a batch of another size."""

    can_be_captured = False

    def __init__(self, shared: SharedContext, batch: int) -> None:
        self._shared = shared
        self._batch = batch

    def bind(self, addresses: Mapping[str, int]) -> None:
        """Give every tensor its device address; the same for all sizes."""
        self._shared.reshape(self._batch)
        self._shared.context.bind(addresses)

    def enqueue(self, stream: int) -> None:
        """Run the network, in the stream's order."""
        self._shared.reshape(self._batch)
        self._shared.context.enqueue(stream)
