"""The pictures: how fast networks and engines are, and training memory over the time of a step."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dla.benchmark.job import CURVE, INFERENCE, TRAINING
from dla.benchmark.report import Session, figures, known_fact
from dla.benchmark.rounds import Measured
from dla.files.figures import drawing

NEAR = 0.04  # of the panel: labels of points that lie so near are put together
POINTS = 14  # rows of a panel of bars that is as high as one of points


def draw(path: Path, session: Session) -> None:
    """Draw what could be measured: bars for each batch, and for networks with a curve memory over time.

    Raises:
        ModuleNotFoundError: without matplotlib, which the extra [train] installs.
    """
    panels, tallest = [], 8
    for rows in _panels(session):
        curved = [row for row in rows if row.row.job.recompute == CURVE]
        bars = [row for row in rows if row.row.job.recompute != CURVE]
        if bars:
            panels.append(partial(_bars, rows=bars))
        if curved:
            panels.append(partial(_curve, rows=curved))
        tallest = max(tallest, len(bars), POINTS if curved else 0)
    with drawing(path, size=(6.5 * max(len(panels), 1), 1.5 + 0.28 * tallest), dpi=110) as figure:
        axes = figure.subplots(1, max(len(panels), 1), squeeze=False)[0]
        for panel, fill in zip(axes, panels, strict=False):
            fill(panel, session=session)
        figure.suptitle(f"{session.facts['device']}, threads: {session.facts['threads']}")


def _panels(session: Session) -> list[list[Measured]]:
    """The rows that could be measured, of each kind of work and each batch."""
    rows = [row for row in session.measured if not row.error]
    kinds = [(work, batch) for work in (INFERENCE, TRAINING) for batch in sorted({r.row.job.batch for r in rows})]
    sorted_out = [[row for row in rows if (row.row.job.work, row.row.job.batch) == kind] for kind in kinds]
    return [panel for panel in sorted_out if panel]


def _bars(axes: Any, rows: Sequence[Measured], session: Session) -> None:
    models, kind = list(session.costs), rows[0].row.job  # whose work and batch all rows have
    for place, row in enumerate(rows):
        model = row.row.job.model
        f = figures(row, session.costs[model], session.peak)
        low, high = (1000 * kind.batch / ms for ms in (f.high, f.low))
        # Of one round all three are the same number, but rounded, and matplotlib takes no bar of negative length.
        spread = [[max(f.images_per_second - low, 0)], [max(high - f.images_per_second, 0)]]
        axes.barh(place, f.images_per_second, xerr=spread, capsize=2, color=f"C{models.index(model) % 10}")
        if kind.work == TRAINING and (memory := known_fact(row)) is not None:
            axes.text(0, place, f" {memory:.1f} MiB", va="center", fontsize="small", color="white")
    axes.set_yticks(range(len(rows)), [f"{row.row.job.model}, {row.row.how}" for row in rows], fontsize="small")
    axes.invert_yaxis()
    inside = "; in the bars, memory an image" if kind.work == TRAINING else ""
    axes.set_title(f"{kind.work}, batch {kind.batch}{inside}", fontsize="medium")
    axes.set(xlabel="images per second, slowest to fastest round")


def _curve(axes: Any, rows: Sequence[Measured], session: Session) -> None:
    """Memory over the time of a step, a line for each network, through all that it may keep or compute again."""
    known = [(row, memory) for row in rows if (memory := known_fact(row)) is not None]
    points = [(1000 * row.seconds / row.row.job.batch, memory) for row, memory in known]
    labels = ["all" if row.row.recompute is None else str(row.row.recompute) for row, _ in known]
    for color, name in enumerate(session.costs):
        if own := [point for point, (row, _) in zip(points, known, strict=True) if row.row.job.model == name]:
            axes.plot(*zip(*own, strict=True), "o-", color=f"C{color % 10}", label=name)
    axes.set(ylim=(0, None))
    for point, label in _together(axes, points, labels):
        axes.annotate(label, point, xytext=(4, 4), textcoords="offset points", fontsize="small")
    axes.set(xlabel="training step, ms an image", ylabel="training memory, MiB an image")
    axes.set_title(
        f"training, batch {rows[0].row.job.batch}; all: is kept; numbers: recomputing(macs=...)", fontsize="medium"
    )
    axes.legend()


def _together(
    axes: Any, points: Sequence[tuple[float, float]], labels: Sequence[str]
) -> list[tuple[tuple[float, float], str]]:
    """Points with labels, one for all that lie near each other."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    found: list[tuple[tuple[float, float], str]] = []
    for (x, y), label in zip(points, labels, strict=True):
        for place, ((a, b), others) in enumerate(found):
            if abs(x - a) < NEAR * (right - left) and abs(y - b) < NEAR * (top - bottom):
                found[place] = ((a, b), f"{others}, {label}")
                break
        else:
            found.append(((x, y), label))
    return found
