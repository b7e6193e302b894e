"""Steps on a GPU machine: each ends in time with all its children, says what it lacks, and stops none of the others."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.gpu import steps
from tests.gpu.report import line_of, table_lines
from tests.gpu.steps import ROOT, Budget, Outcome, Plan, Step, perform, run_plan


def python(code: str, name: str = "step", **rest: object) -> Step:
    return Step(name, (sys.executable, "-c", code), **rest)  # type: ignore[arg-type]


def done(step: Step, tmp_path: Path, seconds: float = 60.0) -> Outcome:
    return perform(step, tmp_path / "log", budget=Budget(seconds))


def test_step_that_passes_keeps_its_output(tmp_path: Path) -> None:
    outcome = done(python("print('one'); print('two')"), tmp_path)
    assert (outcome.state, outcome.last_line) == ("passed", "two")
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[0].startswith("=== step: ") and lines[1:] == ["one", "two"]


def test_step_that_fails_says_its_last_line(tmp_path: Path) -> None:
    outcome = done(python("import sys; sys.exit('no such card')"), tmp_path)
    assert (outcome.state, outcome.last_line) == ("failed", "no such card")


def test_step_says_which_packages_are_missing_before_it_starts(tmp_path: Path) -> None:
    outcome = done(python("print('started')", needs=("json", "paho_of_another_name", "no.such.module")), tmp_path)
    assert outcome.state == "missing"
    assert outcome.last_line.startswith("paho_of_another_name, no.such.module not installed for ")
    assert not (tmp_path / "log").exists()


def test_step_says_which_program_is_missing(tmp_path: Path) -> None:
    assert done(Step("tool", ("no-such-tool",)), tmp_path).last_line == "no-such-tool is not installed"
    outcome = done(python("", needs=("json",), python="/no/such/python"), tmp_path)
    assert outcome.state == "missing" and "/no/such/python cannot be run" in outcome.last_line


def is_running(command: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # ended meanwhile
            if path.read_bytes() == command.encode():
                return True
    return False


def test_step_ends_with_its_children_when_its_time_is_over(tmp_path: Path) -> None:
    time_of_its_own = f"987.{os.getpid()}"
    child = f"import subprocess; print('begun', flush=True); subprocess.run(['sleep', '{time_of_its_own}'])"
    outcome = done(python(child, limit_s=6.0), tmp_path)
    assert (outcome.state, outcome.last_line) == ("failed", "no end within 6 s; begun")
    until_s = time.monotonic() + 5  # the kernel takes a moment to end what was killed
    while (runs := is_running(f"sleep\0{time_of_its_own}\0")) and time.monotonic() < until_s:
        time.sleep(0.05)
    assert not runs


def test_step_gets_no_more_time_than_is_left(tmp_path: Path) -> None:
    outcome = done(python("import time; time.sleep(987)"), tmp_path, seconds=1.0)
    assert outcome.state == "failed" and outcome.seconds < 30
    assert done(python(""), tmp_path, seconds=0.0).last_line == "no time was left"


def test_step_with_figures_keeps_them(tmp_path: Path) -> None:
    code = "import json, sys; print(json.dumps({'rate': 7})); sys.stderr.write('fine\\n')"
    outcome = done(python(code, figures=True), tmp_path)
    assert (outcome.state, outcome.last_line, outcome.figures) == ("passed", "fine", {"rate": 7})
    assert '{"rate": 7}' in (tmp_path / "log").read_text()


def test_step_without_the_figures_that_it_owes_fails(tmp_path: Path) -> None:
    outcome = done(python("print('no JSON')", figures=True), tmp_path)
    assert outcome.state == "failed" and "without figures" in outcome.last_line


def test_step_whose_device_is_refused_is_a_result(tmp_path: Path) -> None:
    outcome = done(python("""print('{"refused": "SM 9.0 is not built for"}')""", figures=True), tmp_path)
    assert (outcome.state, outcome.last_line) == ("refused", "SM 9.0 is not built for")


def test_step_of_tests_that_were_all_skipped_fails_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pytest\n@pytest.mark.parametrize('n', [1, 2])\ndef test_it(n): pytest.skip('no card')\n"
    )
    step = Step("tests", (sys.executable, "-m", "pytest", "-q", "-rs", "-c", os.devnull, str(tmp_path / "test_it.py")))
    outcome = done(step, tmp_path)
    assert outcome.state == "failed" and "2 skipped" in outcome.last_line
    assert len(outcome.reasons) == 1 and outcome.reasons[0].endswith(": no card")


def test_step_of_tests_within_a_tool_that_has_the_last_word_passes(tmp_path: Path) -> None:
    """As compute-sanitizer has, whose summary follows pytest's."""
    code = "print('5 passed, 2 skipped in 1.03s'); print('========= ERROR SUMMARY: 0 errors')"
    step = Step("memcheck", (sys.executable, "-c", code, "pytest"))
    assert (done(step, tmp_path).state, done(step, tmp_path).last_line) == ("passed", "5 passed, 2 skipped in 1.03s")


def test_step_names_the_tests_that_failed(tmp_path: Path) -> None:
    code = "print('FAILED tests/a.py::test_b - boom'); print('1 failed in 1.03s'); raise SystemExit(1)"
    assert done(Step("tests", (sys.executable, "-c", code, "pytest")), tmp_path).reasons == (
        "FAILED tests/a.py::test_b - boom",
    )


def test_step_that_prints_without_end_leaves_a_short_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "MOST_LOG_BYTES", 1000)
    outcome = done(python("for n in range(10000): print(n)"), tmp_path)
    text = (tmp_path / "log").read_text()
    assert outcome.last_line == "9999" and "[the beginning is left out]" in text and text.endswith("\n9999\n")
    assert len(text) < 2000


def test_plan_goes_on_after_a_failure_and_may_depend_on_it(tmp_path: Path) -> None:
    def plan() -> Plan:
        first = yield python("raise SystemExit(1)", "first")
        yield python(f"print('{first.state}')", "second")

    told: list[int] = []
    outcomes = run_plan(plan(), lambda _: tmp_path / "log", budget=Budget(60), tell=lambda all_: told.append(len(all_)))
    assert [outcome.state for outcome in outcomes] == ["failed", "passed"]
    assert outcomes[1].last_line == "failed" and told == [1, 2]


def test_plan_is_ended_by_a_signal_and_still_told(tmp_path: Path) -> None:
    def plan() -> Plan:
        yield python("import time; print('begun', flush=True); time.sleep(987)", "first")
        yield python("print('never')", "second")

    def end() -> None:
        while "begun\n" not in (log.read_text() if log.exists() else ""):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    log = tmp_path / "log"
    threading.Thread(target=end).start()
    before = signal.getsignal(signal.SIGTERM)
    first, second = run_plan(plan(), lambda _: log, budget=Budget(60), tell=lambda _: None)
    assert (first.state, first.last_line) == ("failed", "ended by SIGTERM; begun")
    assert (second.state, second.last_line) == ("missing", "not run: ended by SIGTERM")
    assert signal.getsignal(signal.SIGTERM) is before


def test_report_shows_a_bench_and_a_machine() -> None:
    figure = {
        "batch": 8, "engine_fps": 900.0, "detector_fps": 870.4, "share": 0.967, "frame_us": 41.2,
        "stage_us": {"preprocess": 100.0, "inference": 900.0},
    }  # fmt: skip
    lazy = {"failure": "", "values": {"backend": "tensorrt 10 fp16, Card", "figures": [figure], "memory_mb": 312.4}}
    eager = {"failure": "no memory", "values": {}}
    bench = {"models": [{"model": "store/fp16", "lazy": lazy, "eager": eager}]}
    outcome = Outcome("bench", "passed", 3.0, "", ("FAILED a",), bench)
    text = "\n".join((line_of(outcome), *table_lines(outcome)))
    for words in ("FAILED a", "fp16: tensorrt 10 fp16, Card", "312 MB", "unknown MB", "batch  8", "share 0.967"):
        assert words in text


def test_facts_are_told_on_any_machine() -> None:
    told = subprocess.run((sys.executable, "-m", "tests.gpu.facts"), cwd=ROOT, capture_output=True, check=True).stdout
    facts = json.loads(told)
    assert facts["cores"] >= 1 and facts["packages"]["numpy"] and "cards" in facts
    assert table_lines(Outcome("machine", "passed", 0.1, "", (), facts))
