from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edged.core.errors import DataError, EdgedError, UsageError
from provisioning.data.batches import BatchMaker
from provisioning.data.rendered import render_dataset
from provisioning.model.checkpoint import read_checkpoint
from provisioning.model.torch_checkpoint import as_tensors, network_of
from provisioning.training.hyper import Hyper, OptimizerHyper, ScheduleHyper
from provisioning.training.loop import Interrupted, Trainer
from provisioning.training.settings import BEST, LAST
from tests.provisioning.training import runs

TRAIN, VAL = 10, 3


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    render_dataset(folder, train=TRAIN, val=VAL, seed=11)
    return folder / "data.yaml"


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run of three epochs."""
    output = tmp_path_factory.mktemp("whole") / "run"
    runs.train(runs.settings(data, output, epochs=3))
    return output


def test_training_writes_checkpoints_and_a_line_an_epoch(whole: Path) -> None:
    lines = runs.rows(whole)
    assert [line["epoch"] for line in lines] == ["0", "1", "2"]
    assert all(float(line["box_loss"]) > 0 for line in lines)
    checkpoint = read_checkpoint(whole / LAST, training=True)
    assert checkpoint.names == ("person",)
    assert isinstance(checkpoint.training["progress"], dict)
    assert checkpoint.training["progress"]["epoch"] == 3
    best = read_checkpoint(whole / BEST, training=True)
    assert network_of(best).classes == 1
    assert best.training == {}  # weights to use, not a state to resume
    assert len(list((whole / "events").iterdir())) == 1


def test_training_twice_gives_the_same(data: Path, whole: Path, tmp_path: Path) -> None:
    runs.train(runs.settings(data, tmp_path / "again", epochs=3, workers=2))
    assert runs.rows(tmp_path / "again") == runs.rows(whole)


def test_training_resumes_exactly_after_a_signal_within_an_epoch(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = runs.settings(data, tmp_path / "run", epochs=3)
    step = Trainer._step
    done = []

    def stopping(self: Trainer, batch: object) -> None:
        step(self, batch)  # type: ignore[arg-type]
        done.append(1)
        if len(done) == 5:  # the second batch of the second epoch
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", stopping)
        with pytest.raises(Interrupted, match=r"stopped in epoch 2.*--resume"):
            runs.train(asked)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert len(runs.rows(tmp_path / "run")) == 1
    runs.train(runs.resumed(asked))
    assert runs.rows(tmp_path / "run") == runs.rows(whole)
    first, second = read_checkpoint(whole / LAST).state, read_checkpoint(tmp_path / "run" / LAST).state
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_training_resumes_exactly_with_accumulated_gradients(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of 2 for a nominal 4: a checkpoint falls between steps of the optimiser, never within one."""
    hyper = Hyper(optimizer=OptimizerHyper(rate=0.01, nominal_batch=4), schedule=ScheduleHyper(warmup_epochs=0))
    asked = runs.settings(data, tmp_path / "one", batch_size=2, hyper=hyper)
    runs.train(asked)
    stop_after(3, monkeypatch)
    cut = replace(asked, output=tmp_path / "two")
    with pytest.raises(Interrupted):
        runs.train(cut)
    monkeypatch.undo()
    runs.train(runs.resumed(cut))
    assert runs.rows(tmp_path / "two") == runs.rows(tmp_path / "one")


def stop_after(batches: int, monkeypatch: pytest.MonkeyPatch) -> None:
    make = BatchMaker._make
    made: list[int] = []

    def counting(self: BatchMaker, *args: object, **options: object) -> object:
        made.append(1)
        if len(made) == batches:
            os.kill(os.getpid(), signal.SIGTERM)
        return make(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(BatchMaker, "_make", counting)


def test_training_resumed_after_its_end_does_nothing(data: Path, whole: Path) -> None:
    before = (whole / LAST).read_bytes()
    progress = runs.train(runs.settings(data, whole, epochs=3, resume=True))
    assert progress.finished
    assert (whole / LAST).read_bytes() == before


def test_training_refuses_to_overwrite_a_run(data: Path, whole: Path) -> None:
    with pytest.raises(UsageError, match=r"holds a run already; resume it with --resume"):
        runs.train(runs.settings(data, whole, epochs=3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"seed": 1}, "seed: 0, now 1", id="seed"),
        pytest.param({"side": 96}, "side: 64, now 96", id="side"),
        pytest.param({"epochs": 9}, "epochs: 3, now 9", id="epochs"),
        pytest.param({"hyper": Hyper()}, "hyper: ", id="hyper"),
    ],
)
def test_resume_refuses_other_settings(data: Path, whole: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        runs.train(runs.settings(data, whole, resume=True, **{"epochs": 3, **change}))


def test_resume_refuses_where_nothing_is(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to resume"):
        runs.train(runs.settings(data, tmp_path / "none", resume=True))


def test_resume_refuses_a_damaged_checkpoint(data: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LAST).write_bytes(b"PK\x03\x04 nonsense")
    with pytest.raises(DataError):
        runs.train(runs.settings(data, tmp_path / "run", resume=True))


def test_training_ends_early_without_gain(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisioning.training.results.EpochResult.fitness", 0.5)
    progress = runs.train(runs.settings(data, tmp_path / "run", epochs=9, patience=2))
    assert progress.epoch == 3
    assert progress.finished


def test_training_ends_in_time(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock passes the limit in the third batch: that epoch ends there, evaluated and saved."""
    trainer = runs.trainer(runs.settings(data, tmp_path / "run", epochs=9, minutes=1.0))
    monkeypatch.setattr(trainer, "_trained_s", lambda: 25.0 * (trainer._progress.step + 3 * trainer._progress.epoch))
    progress = trainer.train()
    assert progress.finished
    [line] = runs.rows(tmp_path / "run")
    assert line["map50"] != "nan"
    assert read_checkpoint(tmp_path / "run" / LAST, training=True).training["updates"] == 3


def test_training_that_diverges_says_so_and_keeps_the_checkpoint(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = runs.settings(data, tmp_path / "run", epochs=3)
    trainer = runs.trainer(asked)
    combine = trainer._run.loss.combine
    calls = []

    def exploding(*args: object, **options: object) -> torch.Tensor:
        calls.append(1)
        parts = combine(*args, **options)  # type: ignore[arg-type]
        return parts * float("nan") if len(calls) == 5 else parts

    monkeypatch.setattr(trainer._run.loss, "combine", exploding)
    with pytest.raises(EdgedError, match=r"no number any more \(epoch 2, batch 2\); lower rate"):
        trainer.train()
    assert read_checkpoint(tmp_path / "run" / LAST, training=True).training["updates"] == 3


def test_training_keeps_the_checkpoint_when_the_disk_fills(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = runs.settings(data, tmp_path / "run", epochs=3)
    save, calls = torch.save, []

    def failing(content: object, file: object) -> None:
        calls.append(1)
        if len(calls) >= 3:
            file.write(b"half")  # type: ignore[attr-defined]
            raise OSError(28, "No space left on device")
        save(content, file)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", failing)
        with pytest.raises(EdgedError, match="No space left on device"):
            runs.train(asked)
    runs.train(runs.resumed(asked))
    assert runs.rows(tmp_path / "run") == runs.rows(whole)


def test_training_refuses_a_side_that_does_not_fit(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="multiple of 32, got 100"):
        runs.train(runs.settings(data, tmp_path / "run", side=100))


def test_training_goes_on_from_other_weights(data: Path, whole: Path, tmp_path: Path) -> None:
    """Fine-tuning starts where the other run ended."""
    start = whole / LAST
    model = runs.trainer(runs.settings(data, tmp_path / "run", weights=start))._run.model
    state = as_tensors(read_checkpoint(start).state)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


COMMAND = ["-m", "provisioning", "train", "--size", "64", "--batch-size", "4", "--epochs", "3"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_training_resumes_exactly_after_a_kill(data: Path, tmp_path: Path) -> None:
    """kill -9 at any moment: what the last checkpoint held is trained on, with the same losses."""
    command = [*COMMAND, "--data", str(data), "--runs", str(tmp_path)]
    assert run_python([*command, "--name", "whole"]).returncode == 0
    for epochs in (1, 2):
        name = f"killed{epochs}"
        kill_after(epochs, [*command, "--name", name], table=tmp_path / name / "results.csv")
        again = [*command, "--name", name, *(["--resume"] if (tmp_path / name / LAST).exists() else [])]
        done = run_python(again)
        assert done.returncode == 0, done.stderr
        assert runs.rows(tmp_path / name) == runs.rows(tmp_path / "whole")


def kill_after(epochs: int, arguments: list[str], *, table: Path) -> None:
    """Start a training and end it with SIGKILL as soon as its table has a line for `epochs` epochs."""
    process = subprocess.Popen([sys.executable, *arguments], stderr=subprocess.DEVNULL, env=one_thread_environment())
    deadline = time.monotonic() + 100
    while not table.exists() or len(table.read_text().splitlines()) <= epochs:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_training_in_two_processes_gives_the_losses_of_one(data: Path, tmp_path: Path) -> None:
    """torchrun, gloo, two CPU processes, in double precision: training amplifies rounding, and nothing else differs."""
    options = ["-m", "tests.provisioning.training.double_precision", "train", "--data", str(data), "--size", "64"]
    options += ["--batch-size", "4", "--epochs", "2", "--log-every", "1", "--runs", str(tmp_path)]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    alone = run_python([*options, "--name", "one"])
    together = run_python([*launcher, *options, "--name", "two"])
    assert (alone.returncode, together.returncode) == (0, 0), alone.stderr + together.stderr
    losses = [logged_losses(process.stderr) for process in (alone, together)]
    assert len(losses[0]) == len(losses[1]) == 6
    assert losses[1] == pytest.approx(losses[0], rel=1e-8)


def run_python(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=140, env=one_thread_environment()
    )


def one_thread_environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def logged_losses(text: str) -> list[float]:
    return [float(line.split("loss ")[1]) for line in text.splitlines() if ": loss " in line]
