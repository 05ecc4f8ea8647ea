"""What the finished runs of a row come to, over its seeds."""

import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

from dla.compare.costs import Costs
from dla.compare.logged import Epoch, read_epochs
from dla.compare.runs import Run
from dla.compare.study import Row


class Spread(NamedTuple):
    """Mean over seeds, and the standard deviation (of a sample), None for a single seed."""

    mean: float
    deviation: float | None

    def __str__(self) -> str:
        return f"{self.mean:.2f}" + (f" ± {self.deviation:.2f}" if self.deviation is not None else "")


class Outcome(NamedTuple):
    """A row: what it costs, and what it reached with the seeds that are finished.

    Attributes:
        curves: The epochs of each finished run, by seed; nothing where none is.
        failed: Seeds whose run ended with an error.
    """

    row: Row
    costs: Costs
    curves: dict[int, list[Epoch]]
    failed: tuple[int, ...]

    def best(self) -> Spread:
        """The highest score of each run, in percent."""
        return self._spread(max)

    def last(self) -> Spread:
        """The score at each run's end, in percent."""
        return self._spread(lambda scores: scores[-1])

    def reached(self, target: float) -> list[int | None]:
        """The first epoch at which each run had that score, None where it never had."""
        return [
            next((e.number for e in curve if e.score is not None and round(e.score, 4) >= target), None)
            for curve in self.curves.values()  # rounded, since in float32 a logged 90 % is a little less
        ]

    def images_per_second(self) -> float:
        """The median over all epochs, since a machine may have been busy at times."""
        return statistics.median(
            e.images_per_second for curve in self.curves.values() for e in curve if e.images_per_second
        )

    def seconds(self) -> float:
        """Of a run, training and validation, averaged over seeds."""
        return statistics.mean(sum(epoch.seconds or 0 for epoch in curve) for curve in self.curves.values())

    def _spread(self, choose: Callable[[list[float]], float]) -> Spread:
        values = [choose([e.score for e in curve if e.score is not None]) for curve in self.curves.values()]
        return Spread(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None)


def outcomes(runs: Sequence[Run], counted: dict[str, Costs]) -> list[Outcome]:
    """The rows, in the order of `runs`, with what is finished of each.

    Args:
        runs: all runs of the study.
        counted: the costs of each row, by its name.
    """
    rows = {run.row.name: run.row for run in runs}
    return [
        Outcome(
            row,
            counted[name],
            {run.seed: read_epochs(run) for run in runs if run.row.name == name and run.finished.exists()},
            tuple(run.seed for run in runs if run.row.name == name and run.state == "failed"),
        )
        for name, row in rows.items()
    ]
