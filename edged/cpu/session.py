"""Runs an ONNX model with ONNX Runtime on the CPU: load, check against the manifest, run into fixed buffers."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import numpy as np
import onnxruntime as ort

from edged.core.errors import DataError, DetectorError
from edged.core.manifest import Manifest
from edged.core.types import Floats

SPIN_US = 100  # longer than pauses within a model, far shorter than pauses between frames
_SPINS_FOR_A_WHILE = tuple(map(int, ort.__version__.split(".")[:2])) >= (1, 27)  # has the option for it
_ERRORS_ONLY = 3  # ONNX Runtime's severity; its warnings are about its optimisers


def open_session(model: bytes, *, threads: int, where: str, processors: Sequence[int] = ()) -> ort.InferenceSession:
    """Load an ONNX model.

    Args:
        model: the file's content. Weights in other files are refused: they were never verified.
        threads: cores that one run may use.
        where: its path, for messages.
        processors: one per thread, numbered from 0. The session's own threads are pinned to all but the first, which
            is left to the caller's. Without pinning the kernel at times wakes two of them on one core.

    Raises:
        DataError: truncated, not ONNX, an operator or opset that this ONNX Runtime does not know.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Threads that always spin take cores that cameras need; without any spinning they wake up late for each operator.
    if _SPINS_FOR_A_WHILE:
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN_US))
    else:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if len(processors) == threads > 1:
        pinned = ";".join(str(1 + processor) for processor in processors[1:])  # ONNX Runtime counts from 1
        options.add_session_config_entry("session.intra_op_thread_affinities", pinned)
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # ONNX Runtime's exceptions share no base below Exception
        raise DataError(
            f"{where} ({len(model)} bytes) is no model that ONNX Runtime {ort.__version__} can load: {_cause(exc)}",
            remedy="provision the model again",
        ) from exc


def require_contract(session: ort.InferenceSession, manifest: Manifest, *, where: str) -> None:
    """Check a model's input and outputs against its manifest.

    Raises:
        DataError: another number, rank or size of inputs or outputs than the manifest promises.
    """
    width, height = manifest.input_wh
    inputs = [(node.name, node.shape[1:], node.type) for node in session.get_inputs()]
    if len(inputs) != 1 or inputs[0][1] != [3, height, width] or inputs[0][2] != "tensor(float)":
        raise DataError(f"{where}: expected one float input (batch, 3, {height}, {width}), got {inputs}")
    expected = [
        list(shape) for shape in manifest.decode.output_shapes(classes=len(manifest.classes), input_wh=(width, height))
    ]
    outputs = [list(node.shape[1:]) for node in session.get_outputs()]
    if outputs != expected:
        raise DataError(
            f"{where}: expected heads of {expected} for the manifest's {len(manifest.classes)} classes, got {outputs}",
            remedy="model and manifest do not belong together: provision the model again",
        )


class BoundModel:
    """A session with numpy arrays bound as input and outputs: a run copies and allocates nothing.

    One thread at a time; several may share a session.

    Args:
        session: loaded and checked.
        blob: (1, 3, H, W) float32, the input, filled by the caller before each run.

    Attributes:
        heads: one (C, H, W) float32 array per output, overwritten by each run.
    """

    def __init__(self, session: ort.InferenceSession, blob: Floats) -> None:
        self._session = session
        self._binding = session.io_binding()
        self._blob = blob  # kept: bound by its address
        self._binding.bind_input(session.get_inputs()[0].name, "cpu", 0, np.float32, blob.shape, blob.ctypes.data)
        self.heads: list[Floats] = []
        for node in session.get_outputs():
            head = np.empty(tuple(node.shape[1:]), np.float32)
            self._binding.bind_output(node.name, "cpu", 0, np.float32, (1, *head.shape), head.ctypes.data)
            self.heads.append(head)

    def run(self) -> None:
        """Run the model: `blob` -> `heads`.

        Raises:
            DetectorError: ONNX Runtime failed.
        """
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as exc:  # see open_session
            raise DetectorError(f"inference failed: {_one_line(exc)}") from exc


def memory_is_short(exc: DetectorError) -> bool:
    """Whether a run failed because memory is short at the moment: the machine has as much as was requested."""
    wanted = re.search(r"requested buffer of size (\d+)", str(exc))
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return "allocate" in str(exc) and (wanted is None or int(wanted[1]) <= whole)


def require_finite(heads: Sequence[Floats], *, where: str) -> None:
    """Refuse a model whose self-test gives NaN, infinity or values outside 0..1.

    Raises:
        DataError: it does; such a model would report nothing, or nonsense.
    """
    for number, head in enumerate(heads):
        if not (np.isfinite(head).all() and head.min() >= 0 and head.max() <= 1):
            raise DataError(
                f"{where}: self-test on a grey picture gave values outside 0..1 in head {number}",
                remedy="the weights are damaged or the heads are not sigmoided: provision the model again",
            )


def _cause(exc: Exception) -> str:
    """ONNX Runtime's message; a short one with both numbers where the opset is too new."""
    text = _one_line(exc)
    newest = re.search(r"Opset (\d+) is under development.* for domain (\S+) is till opset (\d+)", text)
    return f"opset {newest[1]} of {newest[2]}, the newest that it knows is {newest[3]}" if newest else text


def _one_line(exc: Exception) -> str:
    return " ".join(str(exc).split())[:1000]
