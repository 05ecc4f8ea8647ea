"""The aggregation node over tokens: the equation of `Node` for sequences, with a linear map and layer norm."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dla.aggregation.checks import expect_residual, expect_some
from dla.aggregation.node import Activation, Norm


class TokenNode(nn.Module):
    """`N(x1, ..., xn) = sigma(LayerNorm(sum_i W_i x_i) [+ x_n])` for transformer blocks, whose channels come last.

    Args:
        in_channels: channels of each input, in the order in which `forward` takes them.
        out_channels: channels of the result.
        residual: add the last input before the activation; it must have `out_channels` channels.
        norm: makes the norm from a channel count.
        activation: makes the activation.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        *,
        residual: bool = False,
        norm: Norm = nn.LayerNorm,
        activation: Activation = nn.GELU,
    ) -> None:
        super().__init__()
        expect_some(in_channels)
        if residual:
            expect_residual(in_channels, out_channels)
        self.residual = residual
        self.linear = nn.Linear(sum(in_channels), out_channels, bias=False)
        self.norm = norm(out_channels)
        self.activation = activation()

    def forward(self, inputs: Sequence[Float[Tensor, "b *length _"]]) -> Float[Tensor, "b *length c"]:
        """Combine sequences (b, length, c_i), or maps (b, h, w, c_i), earliest first."""
        out = self.norm(self.linear(torch.cat(list(inputs), dim=-1)))
        return self.activation(out + inputs[-1] if self.residual else out)
