"""A job in a process of its own, which is stopped by the system whenever it is not asked."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from dla.benchmark.job import Job


class JobError(RuntimeError):
    """A job that cannot be done; the message says why."""


class Process:
    """Starts a process with so many threads; what it writes to standard error goes to the file `log`.

    Between answers it is stopped, so that threads which wait busily take nothing from the one that is measured; on
    Windows, where no process can be stopped, it waits.
    """

    def __init__(self, threads: int, log: Path) -> None:
        self.log = log
        with log.open("w", encoding="utf-8") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dla.benchmark.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            )

    def prepare(self, job: Job) -> dict[str, Any]:
        """Have the job prepared; returns the facts that it knows.

        Raises:
            JobError: it cannot be prepared.
        """
        facts: dict[str, Any] = self._ask(job._asdict())
        if "error" in facts:
            raise JobError(facts["error"])
        self._signal("SIGSTOP")
        return facts

    def measure(self, call: int, seconds: float) -> list[float]:
        """Seconds of each call of the job's call number `call`, repeated for `seconds`.

        Raises:
            JobError: the process has died.
        """
        self._signal("SIGCONT")
        times: list[float] = self._ask({"call": call, "seconds": seconds})
        self._signal("SIGSTOP")
        return times

    def end(self) -> None:
        """End the process and all that it has started."""
        self._signal("SIGKILL")
        self._process.kill()  # where it has not come so far as to have a group
        self._process.communicate()

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # the answer is then missing, too
            print(json.dumps(question), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise JobError(self._death())
        return json.loads(line)

    def _death(self) -> str:
        code = self._process.wait()
        cause = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        last = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        return ": ".join([f"its process ended {cause}", *last])

    def _signal(self, name: str) -> None:
        if not hasattr(os, "killpg"):  # Windows, which lacks most signals, too
            return
        with suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a process that has ended
            os.killpg(self._process.pid, getattr(signal, name))
