"""Trains one run after another, each by `dla fit` in a process of its own, and says how far they are."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from dla.compare.logged import Epoch, read_epochs
from dla.compare.runs import Run, write_config

POLL = 0.5  # seconds between looks at a run
GRACE = 60  # seconds in which an interrupted run ends by itself
TAIL = 15  # lines of a failed run's log that are shown

Say = Callable[[str], None]


def train_all(runs: Sequence[Run], epochs: int, say: Say) -> Iterator[Run]:
    """Train those that are not finished; give each of them after its end, finished or failed."""
    waiting = [run for run in runs if not run.finished.exists()]
    if len(waiting) < len(runs):
        say(f"{len(runs) - len(waiting)} of {len(runs)} runs are finished already")
    pace: list[float] = []  # seconds of every epoch seen
    for i, run in enumerate(waiting):
        say(f"{run.name} (run {i + 1} of {len(waiting)}): {'goes on' if run.last.exists() else 'starts'}, {run.log}")
        for seen in _train(run):
            pace += [seen[-1].seconds] if seen[-1].seconds else []
            say(_progress(run, seen, epochs, pace, behind=len(waiting) - i - 1))
        if run.state == "failed":
            say(f"{run.name} failed; the end of {run.log}:\n{_tail(run)}")
        yield run


def _train(run: Run) -> Iterator[list[Epoch]]:
    """Run `dla fit` to its end; whenever an epoch is over, give all epochs so far."""
    write_config(run)
    run.failed.unlink(missing_ok=True)
    command = [sys.executable, "-m", "dla", "fit", "--config", str(run.config_file)]
    if run.last.exists():
        command += ["--ckpt_path", str(run.last)]
    in_utf8 = {**os.environ, "PYTHONIOENCODING": "utf-8"}  # as the log is read again, whatever the system's encoding
    seen = len(_timed(run))
    with run.log.open("a") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=in_utf8)
    try:
        while True:
            ended = process.poll() is not None
            epochs = _timed(run)
            if len(epochs) > seen:
                seen = len(epochs)
                yield epochs
            if ended:
                break
            time.sleep(POLL)
    finally:
        _end(process)
    measured = any(epoch.score is not None for epoch in read_epochs(run))
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.finished if process.returncode == 0 and measured else run.failed).touch()


def _timed(run: Run) -> list[Epoch]:
    return [epoch for epoch in read_epochs(run) if epoch.seconds is not None]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let a run that is still going stop at the end of its step; its last checkpoint is whole at any time."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _progress(run: Run, seen: Sequence[Epoch], epochs: int, pace: Sequence[float], behind: int) -> str:
    mean = sum(pace) / len(pace) if pace else 0
    left = mean * (epochs - seen[-1].number)
    score = next((f", {e.score:.1f} %" for e in reversed(seen) if e.score is not None), "")
    return (
        f"{run.name}: epoch {seen[-1].number} of {epochs}{score}; "
        f"{_duration(left)} left, {_duration(left + behind * epochs * mean)} of all"
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _tail(run: Run) -> str:
    return "\n".join(run.log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:])
