"""Runs an ONNX model with ONNX Runtime on the CPU: load, check against the manifest, run into fixed buffers."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import numpy as np
import onnxruntime as ort

from edged.core.decode import BOX_CHANNELS, MAX_ROWS, ROW_VALUES, ROWS, GridDecode, ListDecode
from edged.core.errors import DataError, DetectorError
from edged.core.manifest import Manifest
from edged.core.rows import rows_problem
from edged.core.types import Floats

SPIN_US = 100  # longer than pauses within a model, far shorter than pauses between frames
_SPINS_FOR_A_WHILE = tuple(map(int, ort.__version__.split(".")[:2])) >= (1, 27)  # has the option for it
_FLOAT = "tensor(float)"  # ONNX Runtime's name of float32
_ERRORS_ONLY = 3  # ONNX Runtime's severity; its warnings are about its optimisers


def open_session(
    model: bytes, *, threads: int, where: str, processors: Sequence[int] = (), prepacked: bool = True
) -> ort.InferenceSession:
    """Load an ONNX model.

    Args:
        model: the file's content. Weights in other files are refused: they were never verified.
        threads: cores that one run may use.
        where: its path, for messages.
        processors: one per thread, numbered from 0. The session's own threads are pinned to all but the first, which
            is left to the caller's. Without pinning the kernel at times wakes two of them on one core.
        prepacked: keep weights in the order of its kernels, too: faster, and as much memory again for a single run.

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
    if not prepacked:
        options.add_session_config_entry("session.disable_prepacking", "1")
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
    if len(inputs) != 1 or inputs[0][1] != [3, height, width] or inputs[0][2] != _FLOAT:
        raise DataError(f"{where}: expected one float input (batch, 3, {height}, {width}), got {inputs}")
    expected = _expected_outputs(session, manifest)
    if expected:
        got = ", ".join(f"{node.name} {node.type} {list(node.shape[1:])}" for node in session.get_outputs())
        raise DataError(
            f"{where}: expected {expected}, got {got}",
            remedy="model and manifest do not belong together: provision the model again",
        )


def _expected_outputs(session: ort.InferenceSession, manifest: Manifest) -> str:
    """What the outputs should be, for a message; empty if they are that."""
    nodes = session.get_outputs()
    shapes = [list(node.shape[1:]) for node in nodes]
    floats = all(node.type == _FLOAT for node in nodes)
    match manifest.decode:
        case GridDecode() as grid:
            wanted = [
                list(shape) for shape in grid.output_shapes(classes=len(manifest.classes), input_wh=manifest.input_wh)
            ]
            fits = floats and shapes == wanted
            return "" if fits else f"float heads of {wanted} for the manifest's {len(manifest.classes)} classes"
        case ListDecode():
            fits = floats and [node.name for node in nodes] == [ROWS] and _is_list(shapes[0])
            return "" if fits else f"one float output {ROWS} of [N, {ROW_VALUES}], N fixed in 1..{MAX_ROWS}"


def _is_list(shape: list[int | str | None]) -> bool:
    """Whether (N, values) is that of a list of boxes."""
    rows, *values = shape or [None]
    return isinstance(rows, int) and 1 <= rows <= MAX_ROWS and values == [ROW_VALUES]


class BoundModel:
    """A session with numpy arrays bound as input and outputs: a run copies and allocates nothing.

    One thread at a time; several may share a session.

    Args:
        session: loaded and checked.
        blob: (1, 3, H, W) float32, the input, filled by the caller before each run.

    Attributes:
        outputs: one float32 array per output, without the batch, overwritten by each run.
    """

    def __init__(self, session: ort.InferenceSession, blob: Floats) -> None:
        self._session = session
        self._binding = session.io_binding()
        self._blob = blob  # kept: bound by its address
        self._binding.bind_input(session.get_inputs()[0].name, "cpu", 0, np.float32, blob.shape, blob.ctypes.data)
        self.outputs: list[Floats] = []
        for node in session.get_outputs():
            output = np.empty(tuple(node.shape[1:]), np.float32)
            self._binding.bind_output(node.name, "cpu", 0, np.float32, (1, *output.shape), output.ctypes.data)
            self.outputs.append(output)

    def run(self) -> None:
        """Run the model: `blob` -> `outputs`.

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


def require_sound(outputs: Sequence[Floats], manifest: Manifest, *, where: str) -> None:
    """Refuse a model whose self-test gives what its decode cannot use; such a model would report nothing, or nonsense.

    Box values are any finite numbers: tails of other families that were rewritten as grid heads leave 0..1 there.

    Args:
        outputs: (C, H, W) float32 heads, or (N, 6) float32 rows.
        manifest: of the model.
        where: the model's path, for messages.

    Raises:
        DataError: NaN or infinity, scores outside 0..1, or rows of a class that the model does not have.
    """
    match manifest.decode:
        case GridDecode() as grid:
            problems = [_head_problem(head, len(sizes)) for head, sizes in zip(outputs, grid.anchors, strict=True)]
            said = "; ".join(f"{problem} in head {number}" for number, problem in enumerate(problems) if problem)
        case ListDecode():
            said = rows_problem(outputs[0], len(manifest.classes))
    if said:
        raise DataError(
            f"{where}: self-test on a grey picture gave {said}",
            remedy="the weights are damaged, or the outputs are not what the manifest says: provision the model again",
        )


def _head_problem(head: Floats, anchors: int) -> str:
    channels = head.reshape(anchors, -1, *head.shape[1:])  # (A, 5 + C, H, W)
    if not np.isfinite(channels).all():
        return "NaN or infinity"
    scores = channels[:, BOX_CHANNELS - 1 :]
    return "" if scores.min() >= 0 and scores.max() <= 1 else "scores outside 0..1"


def _cause(exc: Exception) -> str:
    """ONNX Runtime's message; a short one with both numbers where the opset is too new."""
    text = _one_line(exc)
    newest = re.search(r"Opset (\d+) is under development.* for domain (\S+) is till opset (\d+)", text)
    return f"opset {newest[1]} of {newest[2]}, the newest that it knows is {newest[3]}" if newest else text


def _one_line(exc: Exception) -> str:
    return " ".join(str(exc).split())[:1000]
