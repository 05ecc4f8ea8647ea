"""What is timed is what its row says: the way to train, the precision and the layout; or else the row says why not."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from dla.benchmark import work
from dla.benchmark.job import AUTOTUNED, INFERENCE, PLAIN, TRAINING, Job
from dla.deploy import DeployError

SMALL = {"model": "timm/test_resnet", "size": (64, 96)}


class Operations(TorchDispatchMode):
    """Counts what is computed."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def operations(call: Callable[[], Any]) -> int:
    with Operations() as mode:
        call()
    return mode.count


def kept(step: Callable[[], Any]) -> list[Tensor]:
    """What a training step keeps for its backward pass."""
    found: list[Tensor] = []
    with saved_tensors_hooks(lambda x: found.append(x) or x, lambda x: x):
        step()
    return found


def test_a_step_computes_again_what_its_row_says():
    job = Job(TRAINING, **SMALL, recompute=(None, 0, 256))
    plain, cheapest, most = map(operations, work._training(job).calls)
    assert plain < 0.8 * min(cheapest, most)
    assert cheapest != most


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format], ids=str)
def test_training_is_in_the_precision_and_layout_of_the_job(precision, layout):
    job = Job(TRAINING, **SMALL, precision=precision, channels_last=layout == torch.channels_last)
    (step,) = work._training(job).calls
    maps = [x for x in kept(step) if x.shape == (1, 16, 32, 48)]
    assert {x.dtype for x in maps} == {getattr(torch, precision)}
    assert all(x.is_contiguous(memory_format=layout) for x in maps)


def test_training_memory_is_of_the_size_of_the_images():
    jobs = (Job(TRAINING, "timm/test_resnet", size=size) for size in ((64, 96), (128, 96)))
    small, large = (work._training(job).facts["memory"][0] for job in jobs)
    assert 1.7 < large / small < 2.1


def test_a_step_trains():
    (step,) = work._training(Job(TRAINING, **SMALL)).calls
    weights = {x: x.clone() for x in kept(step) if isinstance(x, nn.Parameter)}
    step()
    assert weights
    assert not any(torch.equal(weight, before) for weight, before in weights.items())


@pytest.mark.parametrize("engine", [PLAIN, "eager"])
def test_a_network_runs_in_16_bits(engine):
    ready = work._inference(Job(INFERENCE, **SMALL, engine=engine, precision="bfloat16"))
    assert ready.calls[0]().dtype == torch.bfloat16
    assert 1e-4 < ready.facts["difference"] < 0.1


@pytest.mark.parametrize(
    ("job", "error", "message"),
    [
        (Job(INFERENCE, **SMALL, engine=PLAIN, precision="int8"), DeployError, "called as it is has no int8"),
        (Job(INFERENCE, **SMALL, engine=AUTOTUNED, precision="int8"), DeployError, "called as it is has no int8"),
        (Job(INFERENCE, **SMALL, engine="openvino", precision="bfloat16"), DeployError, "openvino has no bfloat16"),
        (Job(TRAINING, **SMALL, precision="int8"), ValueError, "training is in float32 or bfloat16"),
    ],
)
def test_a_precision_that_is_not_there_is_not_measured_as_another(job, error, message):
    with pytest.raises(error, match=message):
        {INFERENCE: work._inference, TRAINING: work._training}[job.work](job)
