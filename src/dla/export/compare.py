"""What a network answers, and how far the answer of its file is from that."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dla.deploy import DeployError
from dla.deploy.errors import brief
from dla.deploy.outputs import Run, difference, flat

Shape = tuple[int, int, int, int]
OTHERS = ((70, 97), (64, 128))  # at which a file of any size is run as well; some programs take but one of the kinds


class Compared(NamedTuple):
    """How far the file's answer is from the network's, relative to that one's largest output, for images of a shape."""

    shape: Shape
    difference: float


class Sample(NamedTuple):
    """Images, and what the network answers."""

    images: Tensor
    answer: list[Tensor]


def shapes_to_compare(shape: Sequence[int], dynamic: bool) -> list[Shape]:
    """`shape`, and others where the file is to be of any size.

    Raises:
        ValueError: it is not the shape of images.
    """
    if len(shape) != 4 or min(shape) < 1:
        raise ValueError(f"shape must be (batch, channels, height, width), at least 1 each, not {tuple(shape)}")
    batch, channels, height, width = shape
    return [(batch, channels, height, width), *((2, channels, *size) for size in OTHERS if dynamic)]


def noise(shape: Shape, seed: int) -> Tensor:
    """Images by a seed; the caller's random numbers go on as if there were none."""
    return torch.randn(shape, dtype=torch.float32, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def sample(model: nn.Module, shape: Shape) -> Sample:
    """Run the network itself.

    Raises:
        DeployError: it fails, or returns what no file can.
    """
    images = noise(shape, seed=1)
    try:
        answer = model(images.clone())  # here and below, since a network may change its images in place
    except Exception as error:  # whatever a network raises
        raise DeployError(
            f"the network itself fails on images of {shape} ({brief(error)}): give {_helps(error)}"
        ) from error
    return Sample(images, flat(answer))


def _helps(error: Exception) -> str:
    # So says torch's convolution, of which the first one is meant mostly, and so what parts the channels into images.
    if any(said in str(error) for said in ("channels, but got", "split_sizes")):
        return "a shape of its channels"
    return "a --size that it takes, without --dynamic"


def compare(found: Run, expected: Sample, format: str) -> Compared:
    """Run the file.

    Raises:
        DeployError: it fails.
    """
    batch, channels, height, width = expected.images.shape
    shape = (batch, channels, height, width)
    try:
        outputs = found(expected.images.clone())
    except Exception as error:  # each runtime has its own
        raise DeployError(
            f"the {format} file fails on images of {shape} ({brief(error)}): give another --format, or a --size "
            "without --dynamic"
        ) from error
    return Compared(shape, difference(expected.answer, outputs))
