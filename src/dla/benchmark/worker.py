"""The process of one job: prepares it, says what it knows, then measures whenever a line asks for it.

Started as `python -m dla.benchmark.worker`. The job, the questions and the answers are lines of JSON on standard input
and output.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import torch

from dla.benchmark.job import Job
from dla.benchmark.work import prepare
from dla.machine import now

WARM_UP = 0.3  # seconds of calls before the first round; each round begins with one more call


def main() -> int:
    """Answer until standard input ends; a job that cannot be prepared is an answer, too."""
    if hasattr(os, "setpgid"):  # but on Windows
        os.setpgid(0, 0)  # stopped and ended with all that engines start; and by the system, should the parent die
    # Libraries write to standard output, which is for answers here.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    job = Job(**json.loads(sys.stdin.readline()))
    try:
        work = prepare(job)
        for call in work.calls:
            timed(call, WARM_UP, job.device, work.in_a_row)
    except Exception as error:
        print(json.dumps({"error": _said(error)}), file=answers)
        return 1
    print(json.dumps(work.facts), file=answers)
    for line in sys.stdin:
        question = json.loads(line)
        call, seconds = work.calls[question["call"]], question["seconds"]
        print(json.dumps(timed(call, seconds, job.device, work.in_a_row)), file=answers)
    return 0


def timed(call: Callable[[], Any], seconds: float, device: str, in_a_row: int = 1) -> list[float]:
    """Seconds of a call, one after another until `seconds` have passed; at least one, and one before them.

    Where several are `in_a_row`, each number is their mean, and the device is waited for after the last of them.
    """
    call()
    times: list[float] = []
    spent = 0.0
    while spent < seconds:
        begun = now(torch.device(device))
        for _ in range(in_a_row):
            call()
        took = now(torch.device(device)) - begun
        times.append(took / in_a_row)
        spent += took
    return times


def _said(error: Exception) -> str:
    """The kind of the error and the first line of what it says."""
    first = str(error).strip().splitlines()[:1]
    return f"{type(error).__name__}: {first[0] if first else ''}"


if __name__ == "__main__":
    sys.exit(main())
