"""The measurement: all processes are prepared, then asked in turn, round after round."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import track

from dla.benchmark.job import PEAK, Job, Row, rows_of
from dla.benchmark.process import JobError, Process
from dla.machine import cores


class Measured(NamedTuple):
    """A row with its figures.

    Attributes:
        row: what was measured.
        rounds: seconds of a call, the median of each round; empty where it could not be measured.
        facts: of the job, see `dla.benchmark.work.Work`.
        error: why it could not.
    """

    row: Row
    rounds: list[float]
    facts: dict[str, Any]
    error: str = ""

    @property
    def seconds(self) -> float:
        """Of a call, the median over rounds."""
        return statistics.median(self.rounds)


class Peak(NamedTuple):
    """What the machine does at best with as many threads: the fastest of all rounds.

    Attributes:
        flops: floating-point operations a second, in a product of matrices.
        bandwidth: bytes a second that a copy reads and writes.
    """

    flops: float
    bandwidth: float


def measure(jobs: Sequence[Job], rounds: int, seconds: float, console: Console) -> tuple[list[Measured], Peak]:
    """Measure the jobs' rows in `rounds` rounds of `seconds` each, and the machine's peak within each round.

    Raises:
        JobError: the machine's peak cannot be measured.
    """
    peak = jobs[0]._replace(work=PEAK, model="", engine="", recompute=(None, None))  # two calls
    everything = [peak, *jobs]
    # The processes end first: threads that wait for one then stop, even when the block is interrupted.
    # On a GPU one after another: engines choose kernels by their time. Libraries are imported by all at once.
    workers = 1 if peak.device == "cuda" else cores()
    with ThreadPoolExecutor(workers) as pool, _processes(everything) as processes:
        prepared = {job: pool.submit(process.prepare, job) for job, process in processes.items()}
        for _ in track(as_completed(prepared.values()), "preparing", len(prepared), console=console):
            pass
        errors = {job: str(future.exception()) for job, future in prepared.items() if _failed(future)}
        if peak in errors:
            raise JobError(f"the machine's peak cannot be measured: {errors[peak]}")
        facts = {job: future.result() for job, future in prepared.items() if job not in errors}
        times, died = _rounds(everything, processes, errors, rounds, seconds, console)
    if not all(times[row] for row in rows_of([peak])):
        raise JobError(f"the machine's peak cannot be measured: {died[peak]}")
    errors |= died
    product, copy = (min(times[row]) for row in rows_of([peak]))
    measured = [
        Measured(row, [], {}, errors[row.job]) if row.job in errors else Measured(row, times[row], facts[row.job])
        for row in rows_of(jobs)
    ]
    return measured, Peak(facts[peak]["flops"] / product, facts[peak]["bytes"] / copy)


def _failed(future: Future[Any]) -> bool:
    """Whether the job could not be prepared; another fault than that is ours and raised."""
    error = future.exception()
    if error and not isinstance(error, JobError):
        raise error
    return error is not None


def _rounds(
    jobs: Sequence[Job],
    processes: Mapping[Job, Process],
    errors: Mapping[Job, str],
    rounds: int,
    seconds: float,
    console: Console,
) -> tuple[dict[Row, list[float]], dict[Job, str]]:
    """The rows' seconds of a call in each round, and what happened to the processes that died meanwhile."""
    rows = rows_of([job for job in jobs if job not in errors])
    times: dict[Row, list[float]] = {row: [] for row in rows}
    died: dict[Job, str] = {}
    for row in track(rows * rounds, "measuring", console=console):
        if row.job in died:
            continue
        try:
            times[row].append(statistics.median(processes[row.job].measure(row.call, seconds)))
        except JobError as error:
            died[row.job] = str(error)
    return times, died


@contextmanager
def _processes(jobs: Sequence[Job]) -> Iterator[dict[Job, Process]]:
    """A process for each job, ended with the block."""
    started: dict[Job, Process] = {}
    with TemporaryDirectory() as folder:
        try:
            for number, job in enumerate(jobs):
                started[job] = Process(job.threads, Path(folder, f"{number}.log"))
            yield started
        finally:
            for process in started.values():
                process.end()
