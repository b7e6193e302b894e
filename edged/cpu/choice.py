"""Chooses the graph of a bundle that ONNX Runtime runs on this CPU."""

from __future__ import annotations

from dataclasses import dataclass

from edged.core.bundle import MODEL, MODEL_INT8, MODEL_INT8_CPU
from edged.core.manifest import Manifest
from edged.cpu.processors import processor_name

CLEARLY = 0.9  # INT8 must take less than this share of float32's time to be worth its loss of accuracy


@dataclass(frozen=True, slots=True)
class Graph:
    """The graph to run.

    Attributes:
        file: its name in the bundle.
        precision: `fp32` or `int8`.
        why: the reason, for people; empty where the choice needs none.
    """

    file: str
    precision: str
    why: str = ""


def choose_graph(manifest: Manifest, precision: str) -> Graph:
    """The graph for the configured precision; for `auto` by what was verified on a processor like this one.

    Args:
        manifest: of the bundle.
        precision: as `[engine] precision`; `fp16` means float32 here.
    """
    if precision == "int8":
        # ONNX Runtime can run TensorRT's graph, too, but slowly: in float between its Q/DQ nodes.
        return Graph(MODEL_INT8_CPU if MODEL_INT8_CPU in manifest.files else MODEL_INT8, "int8")
    if precision == "auto" and manifest.precision == "int8":
        doubt = _doubt(manifest)
        if not doubt:
            return Graph(MODEL_INT8_CPU, "int8", "verified on this processor, and faster than fp32")
        return Graph(MODEL, "fp32", doubt)
    return Graph(MODEL, "fp32", f"the CPU has no {precision}" if precision == "fp16" else "")


def _doubt(manifest: Manifest) -> str:
    """Why INT8 is not the better choice; empty where it is."""
    report = manifest.report
    if MODEL_INT8_CPU not in manifest.files:
        return "the bundle holds no INT8 graph for a CPU"
    if report.get("file") != MODEL_INT8_CPU or not report.get("passed"):
        return "its INT8 graph for a CPU did not pass a verification"
    if report.get("processor") != processor_name():
        return f"its INT8 graph was verified on another processor ({report.get('processor')})"
    one_core_ms = report.get("one_core_ms") or {}
    milliseconds, float_milliseconds = one_core_ms.get("candidate"), one_core_ms.get("float32")
    if not (milliseconds and float_milliseconds and milliseconds < CLEARLY * float_milliseconds):
        return f"INT8 is not clearly faster here ({milliseconds} against {float_milliseconds} ms on one core)"
    return ""
