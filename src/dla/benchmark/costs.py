"""What a network costs on any machine: parameters, multiply-accumulates, and the bytes that must be moved."""

from typing import NamedTuple

import torch

from dla.models import create_model
from dla.models.table import layer_calls


class Costs(NamedTuple):
    """Of one image, at the size that was asked for.

    Attributes:
        parameters: learned numbers.
        macs: multiply-accumulates of convolutions and linear layers.
        weights: numbers that these layers read once a call, however many images it has.
        maps: numbers that they read and write for each image.
        recomputes: the network has `set_memory_efficient`.
    """

    parameters: int
    macs: int
    weights: int
    maps: int
    recomputes: bool

    def numbers(self, batch: int) -> int:
        """Numbers to be moved in a call of `batch` images at least, when all but those layers costs nothing."""
        return self.weights + batch * self.maps


def costs(name: str, size: tuple[int, int]) -> Costs:
    """Count what the network `name` costs, without computing.

    Raises:
        ValueError: the name is unknown.
    """
    with torch.device("meta"):
        model = create_model(name).eval()
        calls = layer_calls(model, size)
        return Costs(
            parameters=sum(p.numel() for p in model.parameters()),
            macs=sum(call.macs for call in calls),
            weights=sum(p.numel() for call in calls for p in call.layer.parameters()),
            maps=sum(call.reads + call.gives for call in calls),
            recomputes=hasattr(model, "set_memory_efficient"),
        )
