"""Two processes that torchrun starts train like one of twice the batch, each image in one of them alone."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dla.weights.checkpoint import read_checkpoint

ALIKE = {  # layer and group norms: batch norm would see half of the batch in each process
    "--model": "ClassificationTask",
    "--model.network": "test_convnext+ida",
    "--model.options": "{norm_layer: groupnorm, out_channels: 64}",
    "--model.optimizer": "sgd",
    "--model.lr": "0.05",
    "--model.batch_base": "16",
    "--data": "DigitsData",
    "--data.size": "32",
    "--trainer.accelerator": "cpu",
    "--trainer.enable_progress_bar": "false",
    "--trainer.max_epochs": "2",
    "--trainer.limit_train_batches": "2",
    "--trainer.precision": "64",  # in 32 bits, sums of two halves round otherwise, and training enlarges that
}
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")


def fit(root: Path, *launcher: str, **changes: str) -> str:
    """Run `dla fit`, and return what it prints."""
    options = {**ALIKE, "--trainer.default_root_dir": str(root), **changes}
    arguments = [f"{key}={value}" for key, value in options.items()]
    command = [sys.executable, *launcher, "-m", "dla", "fit", *arguments]
    run = subprocess.run(command, check=False, timeout=250, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def column(root: Path, name: str) -> list[float]:
    with (root / "metrics/version_0/metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_processes_are_one_of_twice_the_batch(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    printed = fit(one, **{"--data.batch_size": "32"})
    assert "32 images a step over 1 processes: lr 0.05 for 16, so 0.1 at full height" in printed
    printed = fit(two, *TORCHRUN, **{"--data.batch_size": "16"})
    assert printed.count("32 images a step over 2 processes: lr 0.05 for 16, so 0.1 at full height") == 1
    assert column(one, "train/lr") == column(two, "train/lr")
    for name in ("train/loss", "val/loss", "val/accuracy", "val/top5"):
        assert column(one, name) == pytest.approx(column(two, name), rel=1e-6), name
    first, second = column(one, "val/loss")
    assert second < 0.995 * first  # what is compared has learnt
    a, b = (read_checkpoint(root / "checkpoints/last.ckpt") for root in (one, two))
    assert a["global_step"] == b["global_step"] == 4
    for key, value in a["state_dict"].items():
        torch.testing.assert_close(value, b["state_dict"][key], rtol=1e-6, atol=1e-8, msg=key)
