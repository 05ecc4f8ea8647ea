"""What a network costs on any machine: parameters, multiply-accumulates, and the bytes that must be moved."""

from typing import NamedTuple

import torch
from torch import nn

from dla.models import create_model
from dla.models.table import conv_macs


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
        parameters = sum(p.numel() for p in model.parameters())
        weights, maps = _moved(model, size)
        return Costs(parameters, conv_macs(model, size), weights, maps, hasattr(model, "set_memory_efficient"))


def _moved(model: nn.Module, size: tuple[int, int]) -> tuple[int, int]:
    """Numbers of the weights of convolutions and linear layers, and of what these read and write for one image."""
    weights: list[int] = []
    maps: list[int] = []

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        weights.append(sum(p.numel() for p in layer.parameters()))
        maps.append(inputs[0].numel() + out.numel())

    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        model(torch.zeros(1, 3, *size))
    for hook in hooks:
        hook.remove()
    return sum(weights), sum(maps)
