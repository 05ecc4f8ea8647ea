"""The layers of a folded network in fewer operations of a GPU, for inference in 16 bits.

    convolution, bias, [addition], ReLU       one operation of cudnn
    the same, of few channels                 our kernel (`dla.kernels.rows`)
    concatenation, 1x1 convolution, ReLU      our kernel, without the concatenation (`dla.kernels.maps`)
    max pooling of 2x2                        our kernel, which keeps no places of maxima

Elsewhere than on a GPU the modules compute the same by PyTorch's own operations, layer by layer.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dla.aggregation import Node
from dla.deploy.replace import convolution_of
from dla.kernels.packing import filled, narrow, packed
from dla.models.blocks import Pooled, Residual, with_pooled

FEW = 16  # inputs, up to which a convolution is one of few channels


def conv_relu(conv: nn.Conv2d, x: Tensor, added: Tensor | None = None) -> Tensor:
    """`relu(conv(x) [+ added])`."""
    if not x.is_cuda or conv.groups > 1:
        out = conv(x)
        return F.relu(out if added is None else out + added)
    options: Any = conv.stride, conv.padding, conv.dilation, conv.groups
    if added is None:
        return torch.cudnn_convolution_relu(x, conv.weight, conv.bias, *options)
    return torch.cudnn_convolution_add_relu(x, conv.weight, added, 1.0, conv.bias, *options)


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None  # since `convolution_of` gives no other
    return conv.bias.detach()


class ConvReLU(nn.Module):
    """A convolution and ReLU."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, h, w) -> what the convolution gives, without what is negative."""
        return conv_relu(self.conv, x)


class FewChannels(ConvReLU):
    """A convolution of at most 16 channels to at most 64, and ReLU; its weights are read when it is made."""

    weight: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv)
        self.inputs = next(count for count in (4, 8, 16) if count >= conv.in_channels)
        self.pixels = 2 if conv.stride[0] == 1 else 1
        weight, bias = packed(conv.weight.detach(), self.inputs, self.pixels), _bias(conv).repeat(self.pixels)
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", F.pad(bias, (0, weight.shape[2] - len(bias))), persistent=False)

    @staticmethod
    def takes(conv: nn.Conv2d) -> bool:
        """Whether it is one that this computes."""
        return narrow(conv, FEW, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """As `ConvReLU`."""
        if not x.is_cuda:
            return super().forward(x)
        from dla.kernels import rows  # here, because not every torch comes with Triton

        return rows.convolve(
            filled(x, self.inputs),
            self.weight,
            self.bias,
            channels=self.conv.out_channels,
            stride=self.conv.stride[0],
            pixels=self.pixels,
            relu=True,
        )


class GPUResidual(nn.Module):
    """A `Residual` block, whose last convolution adds the shortcut, and its projection's bias."""

    def __init__(self, block: Residual, last: nn.Conv2d) -> None:
        super().__init__()
        self.body, self.last, self.shortcut = block.body[:-1], last, block.shortcut
        if (project := convolution_of(self.shortcut[1])) is not None:
            last.bias = nn.Parameter(_bias(last) + _bias(project))
            project.bias = None

    def forward(self, x: Tensor | Pooled) -> Tensor:
        """As `Residual`."""
        pool, project = self.shortcut
        whole, pooled = with_pooled(x, pool)
        return conv_relu(self.last, self.body(whole), project(pooled))


class GPUNode(nn.Module):
    """A `Node`, into which its norm is folded."""

    weight: Tensor
    bias: Tensor

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.conv, self.residual = node.conv, node.residual
        self.register_buffer("weight", node.conv.weight.detach()[..., 0, 0].t().contiguous(), persistent=False)
        self.register_buffer("bias", _bias(node.conv), persistent=False)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """As `Node`."""
        if not inputs[0].is_cuda or self.residual or self.conv.kernel_size != (1, 1):
            return conv_relu(self.conv, torch.cat(list(inputs), 1), inputs[-1] if self.residual else None)
        from dla.kernels import maps

        return maps.combine(inputs, self.weight, self.bias)


class GPUPool(nn.Module):
    """Max pooling of 2x2 by stride 2, sizes rounded up."""

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, h, w) -> (b, c, ceil(h / 2), ceil(w / 2))."""
        if not x.is_cuda:
            return F.max_pool2d(x, 2, 2, ceil_mode=True)
        from dla.kernels import maps

        return maps.pool(x)
