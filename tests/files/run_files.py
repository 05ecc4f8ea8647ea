"""What a run leaves: tables and checkpoints."""

import csv
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dla.weights.checkpoint import read_checkpoint


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, by column."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def logged(root: Path, name: str) -> list[float]:
    """What a run, begun once, logged under a name, in order."""
    return [float(row[name]) for row in read_rows(root / "metrics/version_0/metrics.csv") if row[name]]


def last(root: Path) -> dict[str, Any]:
    """The last checkpoint of a run."""
    return read_checkpoint(root / "checkpoints" / "last.ckpt")


def save_checkpoint(path: Path, network: nn.Module, **facts: Any) -> str:
    """A checkpoint as a run keeps it, with what it says of the network; its path as commands take it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {f"model.{key}": value for key, value in network.state_dict().items()}
    torch.save({"dla": facts, "state_dict": state}, path)
    return str(path)
