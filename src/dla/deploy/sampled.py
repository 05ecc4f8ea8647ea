"""Deformable convolutions by operations that every runtime has: maps sampled on a grid, then a 1x1 convolution."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, grid_sample

from dla.deploy.replace import hooked, replaced

Graph = Mapping[str, tuple[str, Sequence[str]]]
"""By the name of each value the operation that computes it, and the names of what that reads."""
ENDS = {"Conv", "ConvTranspose", "Gemm", "MatMul", "Shape"}  # have weights, or read sizes alone
ENDS |= {"Convolution", "ConvolutionBackpropData", "GroupConvolution", "GroupConvolutionBackpropData", "ShapeOf"}
SIZES = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")  # networks read some
PRECISE = (torch.float32, torch.float64)  # in 16 bits a place on the grid is off by up to a pixel


class SampledConv2d(nn.Module):
    """torchvision's `DeformConv2d`, which on a CPU takes longer, and which OpenVINO and TensorRT do not know.

    Args:
        conv: the `DeformConv2d`, with its weights.
    """

    taps: Tensor
    stride: tuple[int, int]
    groups: int

    def __init__(self, conv: Any) -> None:
        super().__init__()
        for name in SIZES:
            setattr(self, name, getattr(conv, name))
        weight, self.bias = conv.weight, conv.bias
        self.weight = nn.Parameter(weight.detach().flatten(1)[:, :, None, None])
        ways = zip(weight.shape[2:], conv.dilation, conv.padding, strict=True)
        sides = [torch.arange(size, device=weight.device) * dilation - padding for size, dilation, padding in ways]
        self.register_buffer("taps", torch.cartesian_prod(*sides)[:, :, None, None], persistent=False)

    def forward(
        self,
        x: Float[Tensor, "b _ h w"],
        offset: Float[Tensor, "b _ y x"],
        mask: Float[Tensor, "b _ y x"] | None = None,
    ) -> Float[Tensor, "b c y x"]:
        """(b, in_channels, h, w), and for each pixel of the result and each tap (down, right), and a weight."""
        (batch, channels, *size), (height, width), taps = x.shape, offset.shape[2:], len(self.taps)
        maps = offset.shape[1] // (2 * taps)  # groups of channels that move together
        grid = self._grid(offset.reshape(batch * maps, taps, 2, height, width), size)
        values = grid_sample(x.reshape(batch * maps, channels // maps, *size), grid.flatten(1, 2), align_corners=False)
        values = values.reshape(batch * maps, channels // maps, taps, height, width)
        if mask is not None:
            values *= mask.reshape(batch * maps, 1, taps, height, width)  # in place: they are many
        return conv2d(values.reshape(batch, channels * taps, height, width), self.weight, self.bias, groups=self.groups)

    def _grid(self, offset: Float[Tensor, "b t 2 y x"], size: Sequence[int]) -> Float[Tensor, "b t y x 2"]:
        """Where each tap lies on a map of this size: (right, down), from -1 to 1, its outer edges."""
        sides = zip(offset.shape[3:], self.stride, strict=True)
        starts = [torch.arange(side, device=offset.device) * stride for side, stride in sides]
        places = offset + self.taps + torch.stack(torch.meshgrid(*starts, indexing="ij"))
        down, right = ((2 * place + 1) / side - 1 for place, side in zip(places.unbind(2), size, strict=True))
        return torch.stack([right, down], -1)


def sampled(model: nn.Module) -> nn.Module:
    """A copy of `model` with `SampledConv2d` for torchvision's deformable convolutions; `model` if it has none."""
    return replaced(model, _sampled) if any(map(_deforms, model.modules())) else model


def _sampled(module: nn.Module) -> nn.Module:
    return SampledConv2d(module) if _deforms(module) else module


def _deforms(module: Any) -> bool:
    ops = sys.modules.get("torchvision.ops")  # where nobody has imported it, nothing is made of it
    if ops is None or type(module) is not ops.DeformConv2d or hooked(module):
        return False
    return module.weight.dtype in PRECISE


def places(graph: Graph) -> set[str]:
    """What computes grids in a graph of ONNX or OpenVINO, back to layers with weights; 8 bits would move samples."""
    ahead = [reads[1] for kind, reads in graph.values() if kind == "GridSample"]
    found: set[str] = set()
    while ahead:
        name = ahead.pop()
        kind, reads = graph.get(name, ("", ()))  # images and weights are not computed
        if kind and kind not in ENDS and name not in found:
            found.add(name)
            ahead.extend(reads)
    return found
