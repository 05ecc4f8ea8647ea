"""Writes what was measured: table.md, for people, and results.csv, plain numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dla.benchmark.costs import Costs
from dla.benchmark.job import INFERENCE, TRAINING, Job
from dla.benchmark.rounds import Measured, Peak
from dla.files import make_folder, refuse_folder, write_text
from dla.files.tables import markdown, write_csv

TABLE, RESULTS, PICTURE = "table.md", "results.csv", "picture.png"
BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}  # of a number that is moved
STEP = 3  # a training step multiplies and moves three times as much: forward, for the maps, and for the weights


class Session(NamedTuple):
    """All that one command measured.

    Attributes:
        measured: the rows.
        peak: of the machine.
        costs: of each network by its name.
        facts: lines of the heading by their names: command, device and so on.
    """

    measured: Sequence[Measured]
    peak: Peak
    costs: Mapping[str, Costs]
    facts: Mapping[str, str]


class Figures(NamedTuple):
    """What follows from the seconds of a row.

    Attributes:
        milliseconds: of a call, the median over rounds.
        low: of the fastest round.
        high: of the slowest.
        images_per_second: by the median.
        of_matmul: share of the machine's peak of floating-point operations, at the multiply-accumulates of the network;
            None where they could not be counted.
        of_copy: share of its bandwidth, at the bytes that must be moved; None likewise.
    """

    milliseconds: float
    low: float
    high: float
    images_per_second: float
    of_matmul: float | None
    of_copy: float | None


def figures(row: Measured, costs: Costs, peak: Peak) -> Figures:
    """Work out a row that could be measured."""
    job, seconds = row.row.job, row.seconds
    times = STEP if job.work == TRAINING else 1
    operations = 2 * costs.macs * job.batch * times
    moved = costs.numbers(job.batch) * BYTES[job.precision] * times
    return Figures(
        1000 * seconds,
        1000 * min(row.rounds),
        1000 * max(row.rounds),
        job.batch / seconds,
        operations / seconds / peak.flops if costs.macs else None,
        moved / seconds / peak.bandwidth if costs.macs else None,
    )


def prepare(folder: Path) -> None:
    """Make `folder`, and see that the report can be written there.

    Raises:
        OSError: it cannot.
    """
    make_folder(folder)
    for name in (TABLE, RESULTS, PICTURE):
        refuse_folder(folder / name)


def write_report(folder: Path, session: Session) -> None:
    """Write both files into `folder`, which must exist, each whole or not at all."""
    write_text(folder / TABLE, "\n".join([*heading(session), "", *tables(session), ""]))
    write_csv(folder / RESULTS, _results(session))


def heading(session: Session) -> list[str]:
    """Lines in Markdown: by which command, on what, how."""
    peak = (
        f"{session.peak.flops / 1e9:.0f} GFLOP/s in a product of matrices, {session.peak.bandwidth / 1e9:.1f} GB/s in "
        "a copy (read and written), measured with the same threads"
    )
    facts = {**session.facts, "peak of the machine": peak}
    return ["# Benchmark", "", *(f"- {name}: {fact}" for name, fact in facts.items())]


def tables(session: Session) -> list[str]:
    """Lines in Markdown: a table of the networks, one of inference and one of training, where there are any."""
    networks = [[name, f"{c.parameters:,}", *_counted(c)] for name, c in session.costs.items()]
    lines = list(markdown(["network", "parameters", "MACs", "maps of convolutions"], networks))
    shared = ["network", "how", "batch", "ms", "from - to", "images/s", "of matmul peak", "of copy peak"]
    for work, last in ((INFERENCE, "difference"), (TRAINING, "memory, MiB an image")):
        rows = [row for row in session.measured if row.row.job.work == work]
        if rows:
            lines += ["", f"{work.capitalize()}:", "", *markdown([*shared, last], [_cells(r, session) for r in rows])]
    return lines


def _counted(costs: Costs) -> tuple[str, str]:
    if not costs.macs:
        return ("not counted",) * 2
    return f"{costs.macs / 1e9:.3f} G", f"{costs.maps * 4 / 2**20:.1f} MiB"


def _cells(measured: Measured, session: Session) -> list[str]:
    job = measured.row.job
    name = [job.model, measured.row.how, str(job.batch)]
    if measured.error:
        return [*name, f"not possible: {measured.error}", *[""] * 5]
    f = figures(measured, session.costs[job.model], session.peak)
    times = [_rounded(f.milliseconds), f"{_rounded(f.low)} - {_rounded(f.high)}", f"{f.images_per_second:.1f}"]
    known = known_fact(measured)
    last = "not counted" if known is None else f"{known:.1e}" if job.work == INFERENCE else f"{known:.1f}"
    shares = ["not counted" if share is None else f"{share:.0%}" for share in (f.of_matmul, f.of_copy)]
    return [*name, *times, *shares, last]


def _rounded(milliseconds: float) -> str:
    """With four digits, none of them a power of 10."""
    return f"{float(f'{milliseconds:.4g}'):.10g}"


def known_fact(measured: Measured) -> float | None:
    """Of inference the difference from the network; of training MiB an image, where they are known."""
    if measured.row.job.work == INFERENCE:
        return float(measured.facts["difference"])
    memory = measured.facts["memory"][measured.row.call]
    return None if memory is None else float(memory / 2**20)


def _results(session: Session) -> list[list[Any]]:
    """A line for each row; empty where there is no number."""
    names = [name for name in Job._fields if name != "recompute"]
    known = ["difference", "memory_mib"]
    lines: list[list[Any]] = [
        [*names, "recompute", *Figures._fields, *known, "parameters", "macs", "rounds_ms", "error"]
    ]
    for measured in session.measured:
        row, costs = measured.row, session.costs[measured.row.job.model]
        numbers: list[Any] = [""] * (len(Figures._fields) + len(known))
        if not measured.error:
            both = [known_fact(measured), ""] if row.job.work == INFERENCE else ["", known_fact(measured)]
            numbers = ["" if n is None else f"{n:.6g}" for n in figures(measured, costs, session.peak)] + both
        rounds = " ".join(f"{1000 * s:.6g}" for s in measured.rounds)
        facts = ["x".join(map(str, row.job.size)) if name == "size" else getattr(row.job, name) for name in names]
        lines.append([*facts, row.recompute, *numbers, costs.parameters, costs.macs, rounds, measured.error])
    return lines
