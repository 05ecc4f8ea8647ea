"""What the runs of a study logged: their epochs, and the machines they ran on."""

import csv
import json
from typing import Any, NamedTuple

from dla.compare.runs import Run


class Epoch(NamedTuple):
    """What a run logged of one epoch; None where it did not.

    Attributes:
        number: From 1.
        loss: Of training, averaged.
        score: What the study measures on the validation split, in percent.
        images_per_second: In training.
        seconds: Of training and validation.
    """

    number: int
    loss: float | None
    score: float | None
    images_per_second: float | None
    seconds: float | None


def read_epochs(run: Run) -> list[Epoch]:
    """What was logged so far, one entry an epoch; where a run that went on did an epoch again, the later one."""
    logged: dict[int, dict[str, str]] = {}
    files = run.folder.glob("metrics/version_*/metrics.csv")
    for path in sorted(files, key=lambda path: int(path.parent.name.partition("_")[2])):
        with path.open(newline="", encoding="utf-8") as file:
            for line in csv.DictReader(file):
                if None in line.values() or not line["epoch"]:  # cut off when the machine went down; or of a step
                    continue
                logged.setdefault(int(line["epoch"]), {}).update({key: value for key, value in line.items() if value})
    columns = {"train/loss": 1.0, run.logged: 100.0, "time/images_per_second": 1.0, "time/seconds": 1.0}
    return [
        Epoch(epoch + 1, *(scale * float(values[key]) if key in values else None for key, scale in columns.items()))
        for epoch, values in sorted(logged.items())
    ]


def read_machines(run: Run) -> list[dict[str, Any]]:
    """What the stopwatch wrote of the machine, and of the data's place, whenever the run began or went on."""
    return json.loads(run.machines.read_text(encoding="utf-8"))
