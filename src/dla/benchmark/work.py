"""The work itself: a call of a network in an engine, a training step, or what shows the machine's peak."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dla.benchmark.job import AUTOTUNED, INFERENCE, PEAK, PLAIN, TRAINING, Job
from dla.benchmark.peak import peak
from dla.costs import training_memory
from dla.deploy import DeployError, optimize
from dla.deploy.engines import TORCH
from dla.deploy.outputs import difference, flat
from dla.models import create_model
from dla.recompute import recomputed

CALIBRATION = 4  # batches of noise from which int8 takes its ranges; speed does not depend on them
IN_A_ROW = 8  # training steps, products or copies that a GPU is given before anybody waits for it, as a training would


class Work(NamedTuple):
    """A job, ready to be measured.

    Attributes:
        calls: what is timed, a function for each row; of the peak the matrix product and the copy.
        facts: what is known before: the difference from the network, the training memory of each row.
        in_a_row: how many calls are timed as one, since nobody waits for the result of each.
    """

    calls: list[Callable[[], Any]]
    facts: dict[str, Any]
    in_a_row: int = 1


def prepare(job: Job) -> Work:
    """Build what `job` asks for.

    Raises:
        DeployError: the engine is missing or cannot run the network.
        ValueError: the network's name is unknown, or it cannot be trained here.
    """
    torch.manual_seed(0)
    torch.set_num_threads(job.threads)
    torch.backends.cudnn.benchmark = True  # for all alike
    return {INFERENCE: _inference, TRAINING: _training, PEAK: _peak}[job.work](job)


def _inference(job: Job) -> Work:
    model, images = create_model(job.model).eval().to(job.device), _images(job)
    with torch.inference_mode():
        expected = flat(model(images))
    if job.precision == "bfloat16":
        images = images.bfloat16()
    run = (_plain if job.engine in (PLAIN, AUTOTUNED) else _deployed)(job, model, images)
    return Work([run], {"difference": difference(expected, flat(run()))})


def _plain(job: Job, model: nn.Module, images: Tensor) -> Callable[[], Any]:
    if job.precision == "int8":
        raise DeployError("a network called as it is has no int8")
    if job.precision == "bfloat16":  # channels last, with which 16 bits are fastest
        model = model.to(images.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = images.contiguous(memory_format=torch.channels_last)
    if job.engine == AUTOTUNED:
        model = torch.compile(model, mode="max-autotune", dynamic=False)  # type: ignore[assignment]
    return torch.inference_mode()(partial(model, images))


def _deployed(job: Job, model: nn.Module, images: Tensor) -> Callable[[], Any]:
    if job.engine not in TORCH:
        images = images.cpu()  # from where those engines fetch it
        if job.precision == "bfloat16":
            raise DeployError(f"{job.engine} has no bfloat16 here")
    noise = [torch.randn_like(images) for _ in range(CALIBRATION)] if job.precision == "int8" else None
    deployed = optimize(
        model,
        engine=job.engine,
        example=images,
        precision="float32" if noise is None else "int8",
        threads=job.threads,
        calibration=noise,
    )
    return partial(deployed, images)


def _training(job: Job) -> Work:
    if job.precision == "int8":
        raise ValueError("training is in float32 or bfloat16")
    layout = torch.channels_last if job.channels_last else torch.contiguous_format
    make = partial(create_model, job.model, memory_efficient=False)  # `recomputed` around it decides
    model = make().train().to(job.device, memory_format=layout)  # type: ignore[call-overload]
    images = _images(job).contiguous(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step(forward: Callable[[Tensor], Any]) -> None:
        optimizer.zero_grad()
        with _autocast(job):
            loss = _loss(forward(images))
        loss.backward()
        optimizer.step()

    step(model)  # before anything is counted, since it shows what cannot be trained
    steps: list[Callable[[], Any]] = [partial(step, _forward(job, model, way)) for way in job.recompute]
    if job.device == "cuda":
        return Work(steps, {"memory": [_taken(step, model) / job.batch for step in steps]}, IN_A_ROW)
    return Work(steps, {"memory": _counted(job, make)})


def _forward(job: Job, model: nn.Module, recompute: int | None) -> Callable[[Tensor], Any]:
    run = recomputed(model, recompute is not None, macs=recompute or 0)
    return torch.compile(run) if job.compiled else run


def _counted(job: Job, make: Callable[[], nn.Module]) -> Sequence[float | None]:
    """Bytes an image of each way to train."""
    if job.compiled:  # then no operation is seen that could be counted
        return [None] * len(job.recompute)
    return [training_memory(make, job.size, recompute=way) for way in job.recompute]


def _taken(step: Callable[[], Any], model: nn.Module) -> int:
    """Bytes that a GPU took at most beyond what lay there; at the peak, early in the backward pass, no gradients do."""
    step()
    model.zero_grad()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step()
    return torch.cuda.max_memory_allocated() - before


def _loss(out: Any) -> Tensor:
    if not isinstance(out, Tensor):
        raise ValueError(f"the network returns a {type(out).__name__}: only one tensor of logits is trained here")
    labels = torch.zeros(len(out), *out.shape[2:], dtype=torch.long, device=out.device)
    return F.cross_entropy(out.float(), labels)


def _peak(job: Job) -> Work:
    calls, facts = peak(job.device, torch.bfloat16 if job.precision == "bfloat16" else torch.float32)
    # A product takes a large GPU some ten microseconds, beside which it would count to wait for each.
    return Work(calls, facts, IN_A_ROW if job.device == "cuda" else 1)


def _images(job: Job) -> Tensor:
    return torch.randn(job.batch, 3, *job.size, device=job.device)


def _autocast(job: Job) -> AbstractContextManager[Any]:
    return torch.autocast(job.device, torch.bfloat16, enabled=job.precision == "bfloat16")
