"""`edged bench` as a person types it: the real daemon, a real broker, the table and the JSON."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edged.bench.meters import process_tree
from tests.brokers import MOSQUITTO, wait_for
from tests.handmade import write_bundle

BENCH = [sys.executable, "-m", "edged", "bench"]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*BENCH, *arguments], capture_output=True, text=True, timeout=170, check=False)


def test_bench_names_a_missing_video(tmp_path: Path) -> None:
    done = bench("--model", str(write_bundle(tmp_path / "net")), "--source", str(tmp_path / "none.mp4"))
    assert done.returncode == 2
    assert "none.mp4: no such video" in done.stderr
    assert "Traceback" not in done.stderr


def test_bench_says_in_one_line_that_a_file_holds_no_video(tmp_path: Path) -> None:
    text = tmp_path / "notes.md"
    text.write_text("no video")
    done = bench("--model", str(write_bundle(tmp_path / "net")), "--source", str(text), "--rounds", "1")
    assert done.returncode == 65
    assert done.stderr.startswith(f"edged: error: {text} cannot be opened: no video")
    assert len(done.stderr.splitlines()) == 1


def test_bench_names_a_missing_model(tmp_path: Path) -> None:
    done = bench("--model", str(tmp_path / "net"), "--source", "test:")
    assert done.returncode == 78
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("wrong", ["0", "-1", "many"])
def test_bench_refuses_an_impossible_count(wrong: str) -> None:
    done = bench("--model", "net", "--source", "test:", "--cameras", wrong)
    assert done.returncode == 2


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/exe").exists()  # a zombie has none


@pytest.mark.slow
@pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed: no broker to measure with")
def test_bench_that_is_ended_leaves_nothing_behind(tmp_path: Path) -> None:
    model = str(write_bundle(tmp_path / "net"))
    with subprocess.Popen([*BENCH, "--model", model, "--source", "test:"], stderr=subprocess.PIPE) as process:
        wait_for(lambda: len(process_tree(process.pid)) > 2, timeout_s=60, what="a broker and a loop")
        family = process_tree(process.pid)
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    wait_for(lambda: not any(map(alive, family)), what="everything ended")


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed: no broker to measure with")
def test_bench_measures_everything_as_json_and_draws(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    model, plot = write_bundle(tmp_path / "net"), tmp_path / "cameras.png"
    options = ["--rounds", "1", "--frames", "20", "--compare", "--sweep", "1,3", "--json", "--plot", str(plot)]
    done = bench("--model", str(model), "--source", "test:?size=320x240&fps=30", *options)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    measured = found["measured"]
    assert set(measured["bare"]) == {"together", "side by side", "plain loop"}
    several = measured["several"][0]
    assert several["frames"] == 20
    assert several["cpu_ms"] > 0
    assert several["least_share"] > 0.5
    assert measured["lone"][0]["latency_ms"]["p50"] > 0
    assert measured["sweep"]["3"][0]["realtime"]["frames_per_s"] > 0
    assert len(found["targets"]) == 12
    assert plot.read_bytes().startswith(b"\x89PNG")
