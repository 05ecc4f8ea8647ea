"""The pictures: how long networks and engines take, and training memory over the time of a step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dla.benchmark.job import INFERENCE, TRAINING
from dla.benchmark.report import Session, figures, known_fact
from dla.benchmark.rounds import Measured
from dla.files import atomic_write


def draw(path: Path, session: Session) -> None:
    """Draw what could be measured: bars of images per second for each batch, and training as `_training` does.

    Raises:
        ModuleNotFoundError: without matplotlib, which the extra [train] installs.
    """
    from matplotlib.figure import Figure

    rows = [row for row in session.measured if not row.error]
    inference = [row for row in rows if row.row.job.work == INFERENCE]
    training = [row for row in rows if row.row.job.work == TRAINING]
    batches = sorted({row.row.job.batch for row in inference})
    tallest = max([len(training), *(sum(r.row.job.batch == b for r in inference) for b in batches), 8])
    panels = max(len(batches) + bool(training), 1)
    figure = Figure(figsize=(6.5 * panels, 1.5 + 0.28 * tallest), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    for panel, batch in zip(axes, batches, strict=False):
        _bars(panel, [row for row in inference if row.row.job.batch == batch], session)
        panel.set(xlabel="images per second, slowest to fastest round", title=f"inference, batch {batch}")
    if training:
        _training(axes[-1], training, session)
    figure.suptitle(f"{session.facts['device']}, threads: {session.facts['threads']}")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _bars(axes: Any, rows: Sequence[Measured], session: Session) -> None:
    models = list(session.costs)
    for place, row in enumerate(rows):
        job = row.row.job
        f = figures(row, session.costs[job.model], session.peak)
        low, high = (1000 * job.batch / ms for ms in (f.high, f.low))
        spread = [[f.images_per_second - low], [high - f.images_per_second]]
        axes.barh(place, f.images_per_second, xerr=spread, capsize=2, color=f"C{models.index(job.model) % 10}")
    axes.set_yticks(range(len(rows)), [f"{row.row.job.model}, {row.row.how}" for row in rows], fontsize="small")
    axes.invert_yaxis()


def _training(axes: Any, rows: Sequence[Measured], session: Session) -> None:
    """Memory over the time of a step, a line for each network, through all that it may keep or compute again."""
    for color, name in enumerate(session.costs):
        own = [row for row in rows if row.row.job.model == name and known_fact(row) is not None]
        points = [(1000 * row.seconds / row.row.job.batch, known_fact(row)) for row in own]
        if points:
            axes.plot(*zip(*points, strict=True), "o-", color=f"C{color % 10}", label=name)
        for point, row in zip(points, own, strict=True):
            way = row.row.recompute
            label = ("compiled, " if row.row.job.compiled else "") + ("all" if way is None else str(way))
            axes.annotate(label, point, xytext=(4, 4), textcoords="offset points", fontsize="small")
    axes.set(xlabel="training step, ms an image", ylabel="training memory, MiB an image", ylim=(0, None))
    axes.set_title("training; all: all is kept; numbers: recomputing(macs=...)", fontsize="medium")
    axes.legend()
