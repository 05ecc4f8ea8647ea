"""Batch norm folded into the convolution before it, which then has a bias: the same function, one pass less."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dla.aggregation import Node
from dla.deploy.outputs import difference, flat, tolerance_for
from dla.deploy.padding import fix_padding
from dla.deploy.replace import hooked, is_chain
from dla.kernels.image_conv import ImageConv2d
from dla.networks import copied

NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)


def folded(model: nn.Module) -> nn.Module:
    """A copy of `model` in evaluation mode, with batch norm folded where one stands behind a convolution.

    That is in nodes, and wherever both follow each other in an `nn.Sequential` that does nothing else; a norm elsewhere
    stays as it is, and the engines' own optimisers may still fold it. What has hooks stays too. `model` is not changed.
    Maps from within such a Sequential are others than before, if the network takes some. Padding by size becomes fixed
    where it may, see `dla.deploy.padding`.
    """
    model = copied(model).eval()
    fix_padding(model)
    for module in list(model.modules()):
        if is_chain(module):
            for (first, conv), (second, norm) in pairwise(list(module._modules.items())):  # shared ones, too
                _fold(module, first, conv, second, norm)
        elif isinstance(module, Node):
            _fold(module, "conv", module.conv, "norm", module.norm)
    return model


def folded_for(model: nn.Module, images: Tensor, expected: Sequence[Tensor]) -> nn.Module:
    """`folded(model)` where it gives for `images` what is `expected`, the network's own outputs, and else a copy.

    It does not where a network goes through the layers of an `nn.Sequential` by itself and takes maps in between.
    """
    ready = folded(model)
    with torch.inference_mode():  # the run alone, whose weights would else be of no use outside of it
        found = difference(expected, flat(ready(images.clone())))  # a network may change its images in place
    return ready if found <= tolerance_for(images, "eager") else copied(model).eval()


def _fold(parent: nn.Module, first: str, conv: nn.Module, second: str, norm: nn.Module) -> None:
    # By their very types: timm derives classes that change the weights or add an activation.
    if type(conv) not in (nn.Conv2d, ImageConv2d) or type(norm) not in NORMS or norm.running_mean is None:
        return
    if hooked(conv) or hooked(norm):
        return
    setattr(parent, first, fuse_conv_bn_eval(conv, norm))  # type: ignore[type-var, arg-type]
    setattr(parent, second, nn.Identity())
