"""What is measured: a job is what one process does, and a row of the table is one figure of a job."""

from collections.abc import Sequence
from typing import NamedTuple

from dla.deploy import ENGINES

PLAIN = "plain"  # the network itself, called as it is in evaluation mode; what the engines are compared with
AUTOTUNED = "max-autotune"  # the network as it is through `torch.compile(mode="max-autotune")`
INFERENCE_ENGINES = (PLAIN, AUTOTUNED, *ENGINES)
INFERENCE, TRAINING, PEAK = "inference", "training", "peak"
CURVE = (None, 0, 16, 32, 64, 128, 150, 256)  # what a curve goes through, from keeping all to computing most again


class Job(NamedTuple):
    """What one process does.

    Attributes:
        work: "inference", "training", or "peak", which measures the machine.
        model: name for `dla.create_model`; empty for the peak.
        engine: of inference, one of `INFERENCE_ENGINES`.
        batch: images a call.
        recompute: of training, the ways in which it is measured: None keeps all, a number is that of
            `dla.recomputing(macs=...)`.
        size: height and width of the images.
        threads: of the processor.
        device: "cpu" or "cuda".
        precision: "float32", "bfloat16" (of weights and images; in training by autocast) or "int8".
        channels_last: of training, how maps lie in memory; engines decide by themselves.
        compiled: training goes through `torch.compile`.
    """

    work: str
    model: str = ""
    engine: str = ""
    batch: int = 1
    recompute: tuple[int | None, ...] = (None,)
    size: tuple[int, int] = (224, 224)
    threads: int = 1
    device: str = "cpu"
    precision: str = "float32"
    channels_last: bool = True
    compiled: bool = False


class Row(NamedTuple):
    """One row of the table.

    Attributes:
        job: that measures it.
        call: which of the job's calls.
        recompute: of training, the way.
    """

    job: Job
    call: int = 0
    recompute: int | None = None

    @property
    def how(self) -> str:
        """The engine; of training, what is kept."""
        if self.job.work == INFERENCE:
            return self.job.engine
        way = "all kept" if self.recompute is None else f"recomputing, macs={self.recompute}"
        return f"compiled, {way}" if self.job.compiled else way


def rows_of(jobs: Sequence[Job]) -> list[Row]:
    """The rows of the jobs, in their order."""
    return [Row(job, call, way) for job in jobs for call, way in enumerate(job.recompute)]
