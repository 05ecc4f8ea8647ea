"""The picture of boundary benchmarks: precision over recall, with the lines of equal F behind."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dla.files.figures import drawing
from dla.metrics.boundary.scores import Scores


def draw_curves(results: Mapping[str, Scores], path: str | Path) -> None:
    """Draw the curves of several evaluations, best ODS first, with a dot at each ODS; the suffix is the format.

    Raises:
        FileNotFoundError: the folder of `path` is missing.
        ValueError: matplotlib cannot write that format.
        ModuleNotFoundError: without matplotlib, which the extra [train] installs.
    """
    with drawing(path, size=(6, 6), dpi=150) as figure:
        axes = figure.subplots()
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="recall", ylabel="precision", aspect="equal")
        _draw_equal_f(axes)
        for name, scores in sorted(results.items(), key=lambda item: -item[1].ods):
            _draw_curve(axes, name, scores)
        axes.legend(loc="lower left", fontsize=8)


def _draw_equal_f(axes: Any) -> None:
    recall, precision = np.meshgrid(np.linspace(0.001, 1, 200), np.linspace(0.001, 1, 200))
    f = 2 * recall * precision / (recall + precision)
    lines = axes.contour(recall, precision, f, levels=np.arange(1, 10) / 10, colors="0.8", linewidths=0.8)
    axes.clabel(lines, fmt="F=%.1f", fontsize=7)


def _draw_curve(axes: Any, name: str, scores: Scores) -> None:
    measured = scores.curve.recall + scores.curve.precision > 0  # where nothing is predicted is no point
    label = f"[F={scores.ods:.3f}] {name}"
    (line,) = axes.plot(scores.curve.recall[measured], scores.curve.precision[measured], label=label)
    axes.plot(scores.ods_recall, scores.ods_precision, "o", color=line.get_color())
