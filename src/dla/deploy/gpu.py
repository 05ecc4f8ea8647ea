"""A folded network with the layers of `dla.deploy.gpu_layers` in the place of its own."""

from torch import nn

from dla.aggregation import Node
from dla.deploy.gpu_layers import ConvReLU, FewChannels, GPUNode, GPUPool, GPUResidual
from dla.deploy.replace import convolution_of, halves, hooked, is_chain, join_activations, replaced
from dla.models.blocks import Residual


def for_gpu(model: nn.Module) -> nn.Module:
    """A copy of a network with layers for a GPU wherever it has what they replace.

    Args:
        model: what `dla.deploy.folded` gives; where batch norms stand behind convolutions, nothing is replaced.
    """
    return replaced(model, _for_gpu)


def _for_gpu(module: nn.Module) -> nn.Module:
    if is_chain(module):
        join_activations(module, lambda conv: FewChannels(conv) if FewChannels.takes(conv) else ConvReLU(conv))
    rectified = isinstance(getattr(module, "activation", None), nn.ReLU)
    if type(module) is Residual and rectified and (last := convolution_of(module.body[-1])) is not None:
        return GPUResidual(module, last)
    if type(module) is Node and rectified and module.conv.bias is not None and not hooked(module.conv):
        return GPUNode(module)
    return GPUPool() if halves(module) else module
