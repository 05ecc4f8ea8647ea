"""The aggregation node: a learned, non-linear combination of any number of inputs (Section 3)."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dla.aggregation.checks import expect_maps, expect_residual, expect_some

Value = TypeVar("Value")
"""A map, or whatever else blocks and nodes pass on: the structures never look inside."""
Norm = Callable[[int], nn.Module]
Activation = Callable[[], nn.Module]
NodeFactory = Callable[[Sequence[int], int], nn.Module]
"""Makes the node that takes inputs of these channels and gives that many: `Node` itself, or what you like better."""

relu: Activation = partial(nn.ReLU, inplace=True)


class Node(nn.Module):
    """`N(x1, ..., xn) = sigma(Norm(sum_i W_i x_i) [+ x_n])`, one 1x1 or 3x3 convolution over all inputs.

        x1 ──W1──┐
        x2 ──W2──(+)── Norm ──[+ xn]── sigma ──> out
        xn ──Wn──┘

    The inputs are maps of one size; they may differ in channels. There is no bias, since the norm has one.

    Args:
        in_channels: channels of each input, in the order in which `forward` takes them.
        out_channels: channels of the result.
        kernel_size: odd; 1 in the classification networks, 3 in the decoders.
        residual: add the last input before the activation; it must have `out_channels` channels.
        norm: makes the norm from a channel count; None for a linear node.
        activation: makes the activation; None for a linear node.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        *,
        kernel_size: int = 1,
        residual: bool = False,
        norm: Norm | None = nn.BatchNorm2d,
        activation: Activation | None = relu,
    ) -> None:
        super().__init__()
        expect_some(in_channels)
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, as 1 or 3, so that maps keep their size, not {kernel_size}")
        if residual:
            expect_residual(in_channels, out_channels)
        self.in_channels = tuple(in_channels)
        self.residual = residual
        self.conv = nn.Conv2d(sum(in_channels), out_channels, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = norm(out_channels) if norm else nn.Identity()
        self.activation = activation() if activation else nn.Identity()

    def forward(self, inputs: Sequence[Float[Tensor, "b _ h w"]]) -> Float[Tensor, "b c h w"]:
        """Combine the inputs, finest or earliest first.

        Raises:
            ValueError: they are not as many maps, of these channels and of one size.
        """
        expect_maps(inputs, self.in_channels)
        out = self.norm(self.conv(torch.cat(list(inputs), dim=1)))
        return self.activation(out + inputs[-1] if self.residual else out)
