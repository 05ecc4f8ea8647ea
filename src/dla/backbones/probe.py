"""What an unknown module does to a small image: it is run, and stays as it was."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from dla.backbones.specs import FeatureSpec

# The same two to three, so that a map shows where its height and width stand; the others for patches of 7 or 14 pixels,
# of 3, 5 or 6, and for maps of stride 64.
SIZES = ((64, 96), (112, 168), (120, 180), (128, 192))
FAILURES = (RuntimeError, ValueError, AssertionError, TypeError, IndexError)
"""With what networks fail on a size, or on a number of channels, that they do not take."""


class Layout(NamedTuple):
    """Where the channels of a map stand, how many there are, and the map's stride."""

    spec: FeatureSpec
    channels_last: bool


def as_maps(output: Any) -> list[Any]:
    """The values of a dictionary, the items of a list; one tensor alone is one map."""
    if isinstance(output, Mapping):
        return list(output.values())
    return list(output) if isinstance(output, Sequence) else [output]


def example(module: nn.Module) -> Tensor:
    """A parameter or buffer of `module`, whose device and dtype its images have; an empty tensor where it has none."""
    numbers = chain(module.parameters(), module.buffers())
    return next((x for x in numbers if x.is_floating_point()), torch.empty(0))


def run_once(module: nn.Module, size: tuple[int, int], in_chans: int = 3) -> Any:
    """`module` of an image of noise, in evaluation mode; its modes, buffers and the random state stay."""
    like = example(module)
    image = torch.rand(1, in_chans, *size, generator=torch.Generator().manual_seed(0), device="cpu").to(like)
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    devices = [like.device] if like.device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(devices), _evaluating(module):
        return functional_call(module, buffers, (image,))


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:  # one by one: some may be frozen
            part.training = training


def layout(x: Any, size: tuple[int, int]) -> Layout | None:
    """The layout of what a module gave of an image of `size`; None where it is no map of it."""
    if not isinstance(x, Tensor) or x.ndim != 4 or len(x) != 1:  # of one image: others are no batch, but a volume
        return None
    strides = {(-(-size[0] // stride), -(-size[1] // stride)): stride for stride in range(size[0], 0, -1)}
    for channels_last, sides in ((False, tuple(x.shape[2:])), (True, tuple(x.shape[1:3]))):
        if sides in strides:
            return Layout(FeatureSpec(x.shape[3 if channels_last else 1], strides[sides]), channels_last)
    return None
