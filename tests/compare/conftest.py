"""A small study of digits, and runs of it that look finished."""

import copy
import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from dla.compare.runs import Run, write_config
from dla.compare.study import Study, read_study

MACHINE = {
    "device": "Abacus",
    "devices": 1,
    "threads": 3,
    "precision": "32-true",
    "versions": {"torch": "2.8.0"},
    "train_images": 1408,
    "val_images": 359,
    "classes": 10,
}
CONTENT = {
    "title": "Two structures",
    "image_size": 16,
    "classes": 10,
    "seeds": [0, 1],
    "target": 50,
    "match": {"row": "dla"},
    "model": {
        "class_path": "dla.tasks.ClassificationTask",
        "init_args": {"optimizer": "adamw", "lr": 0.003, "options": {"stem_stride": 2}},
    },
    "data": {"class_path": "dla.data.DigitsData", "init_args": {"size": 16, "batch_size": 32}},
    "trainer": {"max_epochs": 2, "limit_train_batches": 3, "limit_val_batches": 1},
    "rows": {
        "plain": {"label": "chain", "network": "dla34", "options": {"structure": "plain"}},
        "dla": {"network": "dla34", "options": {"width": 0.125}},
    },
}


@pytest.fixture
def content() -> dict[str, Any]:
    """What is in the study's file, to be changed."""
    return copy.deepcopy(CONTENT)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], Path]:
    """Writes a study's file."""

    def write(content: Any) -> Path:
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    return write


@pytest.fixture
def study(content: dict[str, Any], write: Callable[[Any], Path]) -> Study:
    """The study as it is read."""
    return read_study(write(content))


@pytest.fixture
def finish() -> Callable[..., None]:
    """Leaves what a run leaves that reached these accuracies, parts of 1 and one an epoch, None where unmeasured."""

    def finish(run: Run, accuracies: Sequence[float | None], speed: float = 100.0) -> None:
        write_config(run)
        measured = [(epoch, {"val/accuracy": value}) for epoch, value in enumerate(accuracies) if value is not None]
        log(run.folder, 0, measured)
        times = {"train/loss": 1.5, "time/images_per_second": speed, "time/seconds": 10.0}
        log(run.folder, 1, [(epoch, times) for epoch in range(len(accuracies))])
        run.machines.write_text(json.dumps([MACHINE | {"root": run.config["data"]["init_args"].get("root")}]))
        run.finished.touch()

    return finish


def log(folder: Path, version: int, lines: Sequence[tuple[int, dict[str, float]]]) -> None:
    """Lines of metrics as Lightning writes them."""
    path = folder / "metrics" / f"version_{version}" / "metrics.csv"
    path.parent.mkdir(parents=True)
    names = sorted({name for _, values in lines for name in values})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["epoch", "step", *names])
        writer.writeheader()
        writer.writerows({"epoch": epoch, "step": 22 * epoch + 21, **values} for epoch, values in lines)


@pytest.fixture(name="log")
def log_fixture() -> Callable[..., None]:
    """Writes lines of metrics into a run's folder, as one start of the run."""
    return log
