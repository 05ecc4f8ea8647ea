"""What a run leaves: tables and checkpoints."""

import csv
from pathlib import Path
from typing import Any

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
