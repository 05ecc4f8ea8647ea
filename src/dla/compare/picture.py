"""The picture of a study: what rows reach against what they cost, and the learning curves."""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dla.compare.outcome import Outcome
from dla.compare.study import Study
from dla.files.figures import drawing

COSTS: dict[str, Callable[[Outcome], float]] = {
    "parameters (M)": lambda row: row.costs.parameters / 1e6,
    "MACs (M)": lambda row: row.costs.macs / 1e6,
    "training memory (MiB an image; rings: recomputing)": lambda row: row.costs.memory / 2**20,
    "images per second in training": lambda row: row.images_per_second(),
}


def draw(path: Path, rows: Sequence[Outcome], study: Study) -> None:
    """Draw the finished rows, each in a colour that it keeps: best score over each cost, and scores over epochs.

    Bars are standard deviations over seeds.

    Raises:
        ModuleNotFoundError: without matplotlib, which the extra [train] installs.
    """
    from matplotlib import colormaps
    from matplotlib.ticker import MaxNLocator

    palette = colormaps["tab10" if len(rows) <= 10 else "tab20"]
    coloured = [(row, palette(i % palette.N)) for i, row in enumerate(rows) if row.curves]
    with drawing(path, size=(15, 9), dpi=110) as figure:
        figure.suptitle(study.title)
        panels = figure.subplot_mosaic([[*"abx"], [*"cdx"]], width_ratios=(1, 1, 1.6))
        for panel, (name, cost) in zip("abcd", COSTS.items(), strict=True):
            for row, colour in coloured:
                _point(panels[panel], row, cost(row), colour)
            panels[panel].set(xlabel=name, ylabel=f"best val {study.measure.headline} (%)")
            panels[panel].xaxis.set_major_locator(MaxNLocator(5))
        for row, colour in coloured:
            _curve(panels["x"], row, colour)
        panels["x"].set(xlabel="epoch", ylabel=f"val {study.measure.headline} (%)")
        panels["x"].xaxis.set_major_locator(MaxNLocator(integer=True))
        if coloured:
            panels["x"].legend(loc="lower right")


def _point(axes: Any, row: Outcome, cost: float, colour: Any) -> None:
    best = row.best()
    filling = "none" if row.costs.recomputes else colour
    axes.errorbar(cost, best.mean, yerr=best.deviation, fmt="o", capsize=3, color=colour, markerfacecolor=filling)


def _curve(axes: Any, row: Outcome, colour: Any) -> None:
    """The mean of a row over its seeds, and a band from its lowest to its highest run."""
    runs = [{e.number: e.score for e in curve if e.score is not None} for curve in row.curves.values()]
    epochs = sorted(set.intersection(*(set(run) for run in runs)))
    values = [[run[epoch] for run in runs] for epoch in epochs]
    axes.plot(epochs, [statistics.mean(v) for v in values], color=colour, label=row.row.label, marker=".")
    axes.fill_between(epochs, [min(v) for v in values], [max(v) for v in values], color=colour, alpha=0.15)
