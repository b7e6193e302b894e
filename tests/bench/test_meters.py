"""What processes cost, against work of a known size."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from edged.bench.meters import process_tree, thread_cpu_s, tree_cpu_s, tree_memory

# A child that burns, or fills memory, in a grandchild, says so, and then waits to be killed.
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
print(child.stdout.readline().decode(), end="", flush=True)
sys.stdin.read()
child.kill()
child.wait()
"""
BURN = """
import sys, time
began = time.process_time()
while time.process_time() - began < 0.5: pass
print("ready", flush=True)
sys.stdin.read()
"""
FILL = "import sys; a = b'x' * (64 << 20); print('ready', flush=True); sys.stdin.read()"


@pytest.fixture
def grandchild(request: pytest.FixtureRequest) -> Iterator[int]:
    command = [sys.executable, "-c", PARENT, request.param]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        yield parent.pid


@pytest.mark.parametrize("grandchild", [BURN], indirect=True, ids=["burn"])
def test_tree_cpu_counts_descendants_that_live(grandchild: int) -> None:
    assert len(process_tree(grandchild)) == 2
    first = tree_cpu_s(grandchild)
    assert 0.5 <= first < 5
    time.sleep(0.1)
    assert tree_cpu_s(grandchild) - first < 0.05


def test_tree_cpu_counts_descendants_that_have_ended() -> None:
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}], stdin=subprocess.DEVNULL)"
    with subprocess.Popen(
        [sys.executable, "-c", f"{script}\nprint('over', flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        while parent.stdout.readline() != b"over\n":
            pass
        assert process_tree(parent.pid) == [parent.pid]
        assert tree_cpu_s(parent.pid) >= 0.5


@pytest.mark.parametrize("grandchild", [FILL], indirect=True, ids=["fill"])
def test_tree_memory_counts_descendants(grandchild: int) -> None:
    memory = tree_memory(grandchild)
    assert 64 <= memory.private_mb < 128
    assert memory.shared_fairly_mb >= memory.private_mb
    assert memory.slots_mb == 0
    assert memory.threads == 2


def test_tree_cpu_of_a_process_that_is_gone_is_zero() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    assert tree_cpu_s(ended.pid) == 0


def test_thread_cpu_counts_one_thread() -> None:
    began, ended, stop = threading.Event(), threading.Event(), threading.Event()

    def burn() -> None:
        began.wait()
        before = time.thread_time()
        while time.thread_time() - before < 0.2:
            pass
        ended.set()
        stop.wait()

    thread = threading.Thread(target=burn)
    thread.start()
    try:
        before = thread_cpu_s(thread.ident or 0)
        began.set()
        assert ended.wait(30)
        assert 0.2 <= thread_cpu_s(thread.ident or 0) - before < 0.4
    finally:
        stop.set()
        thread.join()
