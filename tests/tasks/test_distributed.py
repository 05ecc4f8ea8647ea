"""Processes that train together train like one of twice the batch, each image in one of them alone."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fit_command import DLA, words
from lightning.pytorch.utilities.exceptions import SIGTERMException
from run_files import last, logged
from torch import distributed

from dla.tasks.boundaries import boundary_loss
from dla.tasks.segmentation import pixel_loss
from dla.tasks.stop import StopTogether

ALIKE = {  # layer and group norms: batch norm would see half of the batch in each process
    "--model.network": "test_convnext+ida",
    "--model.options": "{norm_layer: groupnorm, out_channels: 64}",
    "--model.optimizer": "sgd",
    "--model.lr": "0.05",
    "--model.batch_base": "16",
    "--trainer.accelerator": "cpu",
    "--trainer.max_epochs": "2",
    "--trainer.limit_train_batches": "2",
    "--trainer.precision": "64",  # in 32 bits, sums of two halves round otherwise, and training enlarges that
}
SMALL = {"--data.size": "32", "--data.val_images": "6"}
TASKS = {
    "classification": {"--model": "ClassificationTask", "--data": "DigitsData", "--data.size": "32"},
    "segmentation": {
        "--model": "SegmentationTask",
        "--model.class_weights": "balanced",  # by which the pixels of a process count more than another's
        "--data": "ScenesData",
        **SMALL,
    },
    "boundaries": {"--model": "BoundaryTask", "--data": "BoundaryScenesData", **SMALL},
}
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
LOSSES = {
    "segmentation": lambda logits, mask: pixel_loss(logits, mask, torch.tensor([1.0, 3.0])),
    "boundaries": lambda logits, mask: boundary_loss(logits, mask, 10.0),
    "boundaries, balanced": lambda logits, mask: boundary_loss(logits, mask, None),
}


def uneven() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and masks of which one half counts at few pixels, the other at most."""
    torch.manual_seed(0)
    logits, mask = torch.randn(4, 2, 8, 8), torch.randint(2, (4, 8, 8))
    mask[:2, 1:] = 255
    return logits.requires_grad_(), mask


def of_half(folder: Path) -> None:
    """What one of two processes makes of its half of the batch: each loss and its gradient, in a file."""
    distributed.init_process_group("gloo")
    rank, found = distributed.get_rank(), {}
    for name, loss in LOSSES.items():
        logits, mask = uneven()
        part = slice(2 * rank, 2 * rank + 2)
        value = loss(logits[part], mask[part])
        value.backward()
        found[name] = (value.detach(), logits.grad)
    torch.save(found, folder / f"{rank}.pt")
    distributed.destroy_process_group()


def test_a_pixel_weighs_the_same_in_any_process(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, *TORCHRUN, __file__, str(tmp_path)], check=True, timeout=250, env=environment)
    halves = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    for name, loss in LOSSES.items():
        values, gradients = zip(*(half[name] for half in halves), strict=True)
        logits, mask = uneven()
        value = loss(logits, mask)
        value.backward()
        torch.testing.assert_close(sum(values) / 2, value.detach())
        torch.testing.assert_close(sum(gradients) / 2, logits.grad)  # as processes average them


def fit(root: Path, *launcher: str, **changes: str) -> str:
    """Run `dla fit`, and return what it prints."""
    command = [sys.executable, *launcher, "-m", "dla", *words(changes, root)]
    run = subprocess.run(command, check=False, timeout=250, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "deprecated" not in run.stderr
    return run.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("task", "falling", "measured"),
    [
        ("classification", "val/loss", ["train/loss", "val/accuracy", "val/top5"]),
        ("segmentation", "train/loss", ["val/miou"]),
        ("boundaries", "train/loss", ["val/ods"]),
    ],
)
def test_two_processes_are_one_of_twice_the_batch(task, falling, measured, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    options = {**TASKS[task], **ALIKE}
    printed = fit(one, **options, **{"--data.batch_size": "32"})
    assert "32 images a step over 1 processes: lr 0.05 for 16, so 0.1 at full height" in printed
    printed = fit(two, *TORCHRUN, **options, **{"--data.batch_size": "16"})
    assert printed.count("32 images a step over 2 processes: lr 0.05 for 16, so 0.1 at full height") == 1
    assert logged(one, "train/lr") == logged(two, "train/lr")
    for name in (falling, *measured):
        assert logged(one, name) == pytest.approx(logged(two, name), rel=1e-6), name
    first, second = logged(one, falling)
    assert second < 0.995 * first  # what is compared has learnt
    a, b = (last(root) for root in (one, two))
    assert a["global_step"] == b["global_step"] == 4
    for key, value in a["state_dict"].items():
        torch.testing.assert_close(value, b["state_dict"][key], rtol=1e-6, atol=1e-8, msg=key)


def test_two_processes_that_show_progress_come_to_an_end(tmp_path):
    """Where one process alone shows it, both still ask each other for the same things in the same order."""
    changes = {**TASKS["segmentation"], **ALIKE, "--trainer.precision": "32", "--trainer.max_epochs": "1"}
    fit(tmp_path, *TORCHRUN, **changes, **{"--data.batch_size": "2"})
    assert len(logged(tmp_path, "val/miou")) == 1


def stopped(command: str, root: Path, **changes: str) -> str:
    """Stop the first of two processes while the other waits for it, and return what they say of it."""
    two = ["--trainer.strategy=ddp", "--trainer.devices=2", "--trainer.callbacks+=fit_command.StopAwaited"]
    options = {**TASKS["segmentation"], **ALIKE, "--data.batch_size": "2"}
    full = [*DLA, *words(options, root, *two, command=command, **changes)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(full, check=False, timeout=120, capture_output=True, text=True, env=environment)
    assert run.returncode == 143, run.stderr
    return run.stderr


def test_a_process_that_the_other_waits_for_can_be_stopped(tmp_path):
    assert f"--ckpt_path {tmp_path}/checkpoints/last.ckpt" in stopped("fit", tmp_path)
    assert last(tmp_path)["epoch"] == 0
    printed = stopped("validate", tmp_path, **{"--ckpt_path": "last"})
    assert "dla validate: stopped by SIGTERM before its end" in printed
    assert "Traceback" not in printed


class Strategy:
    """Of which a stop is asked, and what it starts."""

    def __init__(self, launcher: Any = None) -> None:
        self.launcher, self.decisions = launcher, []

    def reduce_boolean_decision(self, decision: bool, *, all: bool) -> bool:
        self.decisions.append((decision, all))
        return decision


def trainer_of(processes: int, doing: str = "fit", launcher: Any = None) -> Any:
    return SimpleNamespace(world_size=processes, state=SimpleNamespace(fn=doing), strategy=Strategy(launcher))


@pytest.fixture
def handlers(monkeypatch) -> list[Any]:
    """What SIGTERM is given to."""
    found: list[Any] = []
    monkeypatch.setattr(signal, "signal", lambda number, handler: found.append(handler))
    return found


@pytest.mark.parametrize(
    ("begins", "doing", "taken"),
    [
        ("sanity_check", "fit", True),
        ("train", "fit", True),
        ("validation", "fit", False),
        ("validation", "validate", True),
        ("test", "test", True),
    ],
)
def test_sigterm_is_taken_over_where_several_processes_begin(begins, doing, taken, handlers):
    begin = getattr(StopTogether(), f"on_{begins}_start")
    begin(trainer_of(1, doing), None)
    thread = Thread(target=begin, args=(trainer_of(2, doing), None))  # to which Python gives no signals
    thread.start()
    thread.join()
    assert handlers == []
    begin(trainer_of(2, doing), None)
    assert len(handlers) == taken


def test_training_ends_before_a_step_where_any_process_was_asked_to(handlers):
    stop, one, two = StopTogether(), trainer_of(1), trainer_of(2)
    stop.on_train_start(two, None)
    stop.on_train_batch_start(two, None, None, 0)
    handlers[0](signal.SIGTERM, None)
    with pytest.raises(SIGTERMException):
        stop.on_train_batch_start(two, None, None, 1)
    assert two.strategy.decisions == [(False, False), (True, False)]
    stop.on_train_batch_start(one, None, None, 1)
    assert one.strategy.decisions == []


def test_measuring_ends_at_once_with_what_it_has_started(handlers):
    killed: list[int] = []
    for launcher in (SimpleNamespace(kill=killed.append), None):
        StopTogether().on_test_start(trainer_of(2, "test", launcher), None)
        with pytest.raises(SIGTERMException):
            handlers[-1](signal.SIGTERM, None)
    assert killed == [signal.SIGTERM]


if __name__ == "__main__":
    of_half(Path(sys.argv[1]))
