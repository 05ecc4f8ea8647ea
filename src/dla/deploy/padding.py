"""Convolutions that pad as TensorFlow does, by the size of their map, padded by numbers instead."""

from typing import TypeGuard

import torch
from torch import nn

from dla.backbones.maps import Maps
from dla.deploy.replace import hooked


def fix_padding(model: nn.Module) -> None:
    """Change such convolutions of backbones whose images are padded to multiples of all strides.

    There each pads every size alike. Of a size that is a symbol the exporters would take minutes to follow the sums.
    """
    backbones = [maps for maps in model.modules() if isinstance(maps, Maps) and maps.multiple > 1]
    for parent in [module for maps in backbones for module in maps.modules()]:
        for name, conv in list(parent.named_children()):
            if _pads_by_size(conv) and not hooked(conv):
                setattr(parent, name, _fixed(conv))


def _pads_by_size(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    from timm.layers.conv2d_same import Conv2dSame  # here, since timm takes long to import, and may not be needed

    return type(module) is Conv2dSame


def _fixed(conv: nn.Conv2d) -> nn.Sequential:
    sides = zip(conv.kernel_size, conv.stride, conv.dilation, strict=True)
    rows, columns = (max((kernel - 1) * dilation + 1 - stride, 0) for kernel, stride, dilation in sides)
    with torch.device("meta"):  # without weights of its own
        plain = nn.Conv2d(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            dilation=conv.dilation,  # type: ignore[arg-type]
            groups=conv.groups,
            bias=conv.bias is not None,
        )
    plain.weight, plain.bias = conv.weight, conv.bias
    before = nn.ZeroPad2d((columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
    return nn.Sequential(before, plain)
