"""torchvision's deformable convolutions as maps that are sampled on a grid, and what computes such grids in a graph."""

import sys
from collections.abc import Mapping, Sequence

from torch import nn

from dla.deploy.replace import hooked, refilled, replaced
from dla.models.deformable import SampledConv2d

Graph = Mapping[str, tuple[str, Sequence[str]]]
"""By the name of each value the operation that computes it, and the names of what that reads."""
ENDS = {"Conv", "ConvTranspose", "Gemm", "MatMul", "Shape"}  # have weights, or read sizes alone
ENDS |= {"Convolution", "ConvolutionBackpropData", "GroupConvolution", "GroupConvolutionBackpropData", "ShapeOf"}


def sampled(model: nn.Module) -> nn.Module:
    """A copy of `model` with `SampledConv2d` for torchvision's deformable convolutions; `model` if it has none."""
    return replaced(model, _sampled) if any(map(_deforms, model.modules())) else model


def _sampled(module: nn.Module) -> nn.Module:
    return refilled(SampledConv2d, module) if _deforms(module) else module


def _deforms(module: nn.Module) -> bool:
    ops = sys.modules.get("torchvision.ops")  # where nobody has imported it, nothing is made of it
    return ops is not None and type(module) is ops.DeformConv2d and not hooked(module)


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
