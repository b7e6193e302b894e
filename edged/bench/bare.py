"""Measures the machine's limit and the plain loop, each in a process of its own: `python -m edged.bench.bare`. The
request comes on standard input: a source may hold a password, and all users can read the arguments of a process.

The limit only decodes the video and runs the model: `together` uses all cores for one frame after the other,
`side by side` calls one single-threaded session from as many threads as cores, each with its own video.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
import onnxruntime as ort

from edged.bench.figures import Percentiles
from edged.bench.meters import machine_busy_s
from edged.bench.plain import plain_frame
from edged.capture.sources.reader import FrameReader
from edged.capture.spec import CameraSpec
from edged.core.decode import Decode, decode_from_json
from edged.core.errors import CameraError, DamagedFile, DetectorError, EdgedError
from edged.core.redact import redact, remember_source
from edged.core.types import Pixels

TIMEOUT_S = 600.0
_RAISED_AGAIN = (DamagedFile, CameraError, EdgedError)  # the special kind first


@dataclass(frozen=True, slots=True)
class BareRequest:
    """One measurement.

    Attributes:
        kind: `together`, `side by side` or `plain loop`.
        model: path of the ONNX file.
        sources: what the threads decode, in turn.
        frames: number of frames to measure.
        threads: for `side by side`.
        decode: of the model's outputs; for the plain loop.
        interval_s: time between two frames, as from a camera slower than the model; 0 for no pause.
    """

    kind: str
    model: str
    sources: tuple[str, ...]
    frames: int
    threads: int
    decode: Decode
    interval_s: float = 0.0


@dataclass(frozen=True, slots=True)
class BareFigures:
    """Figures after a warm-up.

    Attributes:
        frames_per_s: of all threads.
        cpu_ms: CPU milliseconds per frame.
        read_ms, run_ms: wall time to decode a frame, and to run the model.
        others_cores: cores that other processes kept busy meanwhile.
    """

    frames_per_s: float
    cpu_ms: float
    read_ms: Percentiles
    run_ms: Percentiles
    others_cores: float


def measure_bare(request: BareRequest) -> BareFigures:
    """Measure in a process of its own.

    Raises:
        CameraError: a source cannot be read; DamagedFile, where a file holds no video or picture.
        EdgedError: anything else failed.
    """
    for source in request.sources:
        remember_source(source)
    command, said = [sys.executable, "-m", "edged.bench.bare"], json.dumps(asdict(request))
    try:
        done = subprocess.run(command, input=said, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as exc:
        raise DetectorError(f"the bare loop did not end within {TIMEOUT_S:g} s") from exc
    if done.returncode:
        raise DetectorError(f"the bare loop failed: {redact(done.stderr.strip())[-500:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    if "error" in found:
        raise _RAISED_AGAIN[found["kind"]](found["error"])
    return BareFigures(
        **{**found, "read_ms": Percentiles(**found["read_ms"]), "run_ms": Percentiles(**found["run_ms"])}
    )


class _Frames:
    """Endless frames of a source, decoded one after the other in this thread."""

    def __init__(self, source: str) -> None:
        self._reader = FrameReader(CameraSpec(name="bare", source=source, pace="fast", loop=True))

    def read(self) -> Pixels:
        if self._reader.advance() is None:
            raise CameraError(f"{self._reader.location} cannot be read")
        return self._reader.retrieve(None)


class _Turnstile:
    """Hands out a number of frames to several threads, and keeps the times of each."""

    def __init__(self, frames: int, *, interval_s: float) -> None:
        self._left = itertools.count(frames, -1)
        self._interval_s = interval_s
        self._due_s = time.monotonic()
        self.reads_ms: list[float] = []
        self.runs_ms: list[float] = []

    def serve(self, read: Callable[[], Pixels], run: Callable[[Pixels], object]) -> None:
        while next(self._left) > 0:
            self._wait()
            began = time.perf_counter()
            picture = read()
            decoded = time.perf_counter()
            run(picture)
            self.runs_ms.append((time.perf_counter() - decoded) * 1e3)
            self.reads_ms.append((decoded - began) * 1e3)

    def _wait(self) -> None:
        if self._interval_s:
            time.sleep(max(0.0, self._due_s - time.monotonic()))
            self._due_s += self._interval_s


def _serve(turnstile: _Turnstile, sources: Sequence[_Frames], run: Callable[[Pixels], object]) -> None:
    with ThreadPoolExecutor(len(sources)) as threads:
        for done in [threads.submit(turnstile.serve, source.read, run) for source in sources]:
            done.result()


def _runner(request: BareRequest) -> Callable[[Pixels], object]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if request.kind == "side by side":
        options.intra_op_num_threads = 1
    session = ort.InferenceSession(request.model, options, providers=["CPUExecutionProvider"])
    if request.kind == "plain loop":
        return plain_frame(session, request.decode)
    entry = session.get_inputs()[0]
    blob = np.full((1, *entry.shape[1:]), 0.5, np.float32)
    return lambda _picture: session.run(None, {entry.name: blob})


def _main(text: str) -> None:
    said = json.loads(text)
    request = BareRequest(**{**said, "decode": decode_from_json(said["decode"])})
    try:
        found = asdict(_measure(request))
    except EdgedError as exc:
        kinds = [index for index, kind in enumerate(_RAISED_AGAIN) if isinstance(exc, kind)]
        found = {"kind": kinds[0], "error": str(exc)}
    print(json.dumps(found))


def _measure(request: BareRequest) -> BareFigures:
    run = _runner(request)
    count = request.threads if request.kind == "side by side" else 1
    sources = [_Frames(request.sources[index % len(request.sources)]) for index in range(count)]
    _serve(_Turnstile(4 * count, interval_s=0.0), sources, run)
    turnstile = _Turnstile(request.frames, interval_s=request.interval_s)
    began_s, cpu_s, busy_s = time.perf_counter(), time.process_time(), machine_busy_s()
    _serve(turnstile, sources, run)
    seconds, cpu_s, busy_s = time.perf_counter() - began_s, time.process_time() - cpu_s, machine_busy_s() - busy_s
    return BareFigures(
        frames_per_s=request.frames / seconds,
        cpu_ms=cpu_s / request.frames * 1e3,
        read_ms=Percentiles.of(turnstile.reads_ms),
        run_ms=Percentiles.of(turnstile.runs_ms),
        others_cores=max(0.0, (busy_s - cpu_s) / seconds),
    )


if __name__ == "__main__":
    _main(sys.stdin.read())
