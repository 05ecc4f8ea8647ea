"""Layers of a folded network, found, and replaced by others."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeGuard, cast

import torch
from torch import nn

from dla.kernels.image_conv import ImageConv2d
from dla.networks import copied


def replaced(model: nn.Module, layer: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """A copy of `model` with `layer(module)` in the place of every module, innermost first."""
    return _replaced(copied(model), layer)


def _replaced(module: nn.Module, layer: Callable[[nn.Module], nn.Module]) -> nn.Module:
    made = {child: _replaced(child, layer) for child in module.children()}
    # Not `named_children`, which leaves out what stands there a second time.
    for name, child in list(module._modules.items()):
        if child is not None:
            setattr(module, name, made[child])
    return layer(module)


def refilled(kind: type[nn.Module], conv: Any) -> nn.Module:
    """A convolution of another kind with the sizes and the weights of `conv`."""
    sizes = conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups
    with torch.device("meta"):  # where no random numbers are drawn
        made = kind(*sizes, conv.bias is not None)
    made.weight, made.bias = conv.weight, conv.bias
    return made


def hooked(module: nn.Module) -> bool:
    """Whether hooks, such as those of pruning, compute its weights or change what goes in or out."""
    return bool(module._forward_pre_hooks or module._forward_hooks)


def is_chain(module: nn.Module) -> TypeGuard[nn.Sequential]:
    """Whether it runs its layers one after another, and nothing between them: some derived classes do more."""
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def halves(module: nn.Module) -> bool:
    """Whether it is max pooling by 2 that rounds sizes up, as our networks have it."""
    if type(module) is not nn.MaxPool2d:
        return False
    own = module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode, module.return_indices
    return own == (2, 2, 0, 1, True, False)


def convolution_of(module: nn.Module) -> nn.Conv2d | None:
    """The convolution, with a bias and no hooks, that `module` is or that alone computes something in it."""
    whole = (layer for _, layer in module.named_modules(remove_duplicate=False))  # one that runs twice, twice
    layers = [layer for layer in whole if type(layer) not in (nn.Sequential, nn.Identity)]
    if len(layers) != 1 or type(layers[0]) not in (nn.Conv2d, ImageConv2d) or any(map(hooked, module.modules())):
        return None
    conv = cast(nn.Conv2d, layers[0])
    usual = conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
    return conv if usual and conv.bias is not None else None


def join_activations(layers: nn.Sequential, join: Callable[[nn.Conv2d], nn.Module | None]) -> None:
    """Put `join(convolution)` in the place of a convolution and the ReLU behind it, unless it is None."""
    # Not `named_children`, as above.
    parts = [(name, layer) for name, layer in layers._modules.items() if not isinstance(layer, nn.Identity)]
    for (first, layer), (second, activation) in pairwise(parts):
        conv = convolution_of(layer)
        if conv is not None and type(activation) is nn.ReLU and (joined := join(conv)) is not None:
            layers._modules[first], layers._modules[second] = joined, nn.Identity()
