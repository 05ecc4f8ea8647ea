"""`dla models`: the table of networks, counted and not copied."""

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from dla.models.variants import VARIANTS, build
from dla.weights import packaged


class LayerCall(NamedTuple):
    """A convolution or linear layer, as it is called for one image.

    Attributes:
        layer: that is called.
        reads: numbers of its input.
        gives: numbers of its result.
    """

    layer: nn.Conv2d | nn.Linear
    reads: int
    gives: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.gives * self.layer.weight[0].numel()


def layer_calls(model: nn.Module, size: tuple[int, int]) -> list[LayerCall]:
    """All calls of convolutions and linear layers over one image of this height and width."""
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    calls: list[LayerCall] = []

    def note(layer: nn.Conv2d | nn.Linear, inputs: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        calls.append(LayerCall(layer, inputs[0].numel(), out.numel()))

    hooks = [layer.register_forward_hook(note) for layer in layers]
    weight = layers[0].weight
    with torch.no_grad():
        model(torch.zeros(1, weight.shape[1], *size, device=weight.device))
    for hook in hooks:
        hook.remove()
    return calls


def conv_macs(model: nn.Module, size: tuple[int, int] = (224, 224)) -> int:
    """Multiply-accumulates of the convolutions, the classifier among them, over one image of this height and width."""
    return sum(call.macs for call in layer_calls(model, size))


def table() -> str:
    """One line per network: block, depths, channels, residual nodes, parameters, MACs at 224."""
    line = "{:<9} {:<11} {:<8} {:<26} {:<9} {:>11} {:>10}"
    lines = [line.format("name", "block", "depths", "channels", "residual", "parameters", "MACs @224")]
    for name, variant in VARIANTS.items():
        with torch.device("meta"):
            model = build(variant).eval()
        block = getattr(variant.block, "func", variant.block).__name__
        groups = max(m.groups for m in model.modules() if isinstance(m, nn.Conv2d))
        parameters = sum(p.numel() for p in model.parameters())
        lines.append(
            line.format(
                name,
                f"{block} {groups}" if groups > 1 else block,
                ",".join(map(str, variant.depths)),
                ",".join(map(str, variant.channels)),
                "yes" if variant.residual else "no",
                f"{parameters:,}",
                f"{conv_macs(model) / 1e9:.3f} G",
            )
        )
    return "\n".join(lines)


def main(argv: Sequence[str]) -> int:
    """Print the table and how names are made of it."""
    parser = argparse.ArgumentParser(prog="dla models", description="Print the table of networks.")
    parser.parse_args(argv)
    print(table())
    print("\nDense predictors: add up (repeated aggregation, as dla34up) or ida (single, as dla46_cida) to a name.")
    print(f"Names with weights in the package: {', '.join(packaged()) or 'none'}")
    print("The authors' ImageNet weights of each name, on the Hugging Face hub: add .in1k, as in dla34.in1k.")
    print("Detection: dla34_centernet, CenterNet's and FairMOT's network.")
    return 0
