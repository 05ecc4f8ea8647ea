"""What a network costs on any machine: parameters, multiply-accumulates, and the bytes that must be moved."""

from typing import NamedTuple

import torch
from torch import nn

from dla.costs import macs, parameters, recomputes
from dla.models import create_model


class Costs(NamedTuple):
    """Of one image, at the size that was asked for.

    Attributes:
        parameters: learned numbers.
        macs: multiply-accumulates.
        weights: numbers that convolutions and linear layers read once a call, however many images it has.
        maps: numbers that they read and write for each image.
        recomputes: it computes cheap results again in training, unless told otherwise.
    """

    parameters: int
    macs: int
    weights: int
    maps: int
    recomputes: bool

    def numbers(self, batch: int) -> int:
        """Numbers to be moved in a call of `batch` images at least, when all but those layers costs nothing."""
        return self.weights + batch * self.maps


class LayerCall(NamedTuple):
    """A convolution or linear layer, as it is called for one image.

    Attributes:
        layer: that is called.
        moved: numbers of its input and of its result.
    """

    layer: nn.Module
    moved: int


def costs(name: str, size: tuple[int, int]) -> Costs:
    """Count what the network `name` costs, without computing; all but its parameters is 0 where it cannot run.

    Raises:
        ValueError: the name is unknown.
    """
    with torch.device("meta"):
        model = create_model(name).eval()
        multiplied, calls = _counted(model, size)
    return Costs(
        parameters=parameters(model),
        macs=multiplied,
        weights=sum(parameters(call.layer) for call in calls),
        maps=sum(call.moved for call in calls),
        recomputes=recomputes(model),
    )


def _counted(model: nn.Module, size: tuple[int, int]) -> tuple[int, list[LayerCall]]:
    """Multiply-accumulates, and all calls of layers."""
    calls: list[LayerCall] = []

    def note(layer: nn.Module, inputs: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        calls.append(LayerCall(layer, inputs[0].numel() + out.numel()))

    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(note)
    try:
        return macs(model, size), calls
    except Exception:  # of any kind: its process will meet the same, and its row say so
        return 0, []
