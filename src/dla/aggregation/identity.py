"""A residual node that begins as the identity on its last input, to be grown into a network that is trained already."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dla.aggregation.checks import expect_residual, expect_some
from dla.aggregation.node import Activation, Norm


class IdentityNode(nn.Module):
    """A residual node (Section 3) whose initial result is x_n, whatever its inputs and its random weights W.

        rectified   sigma(x_n + Norm(sum_i W_i x_i))      the norm's weight is 0; x_n >= 0, hence sigma(x_n) = x_n
        signed      x_n + g * sigma(Norm(sum_i W_i x_i))  g, of each channel, is 0

    One factor is zero and W is random, so the factor learns from the first step on and W from the second. A zero W
    would not do, since a norm divides by W's scale; nor would sigma(0 * Norm(...)), since the ReLU has no slope at 0.

    Args:
        in_channels: channels of each input, in the order in which `forward` takes them.
        out_channels: channels of the result and of the last input.
        width: the rank of W, which is then two 1x1 convolutions with so many channels between them; None for one.
        signed: for blocks whose outputs have both signs; otherwise they must end in the activation, a ReLU.
        norm: makes the norm, with a weight and a bias, from a channel count.
        activation: makes the activation.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        *,
        width: int | None = None,
        signed: bool = False,
        norm: Norm = nn.BatchNorm2d,
        activation: Activation = nn.ReLU,
    ) -> None:
        super().__init__()
        expect_some(in_channels)
        expect_residual(in_channels, out_channels)
        channels = [sum(in_channels), out_channels] if width is None else [sum(in_channels), width, out_channels]
        self.mix = nn.Sequential(*(nn.Conv2d(before, after, 1, bias=False) for before, after in pairwise(channels)))
        self.norm = norm(out_channels)
        self.activation = activation()
        self.gain = nn.Parameter(torch.zeros(out_channels)) if signed else None
        if not signed:
            nn.init.zeros_(self.norm.get_parameter("weight"))

    def forward(self, inputs: Sequence[Float[Tensor, "b _ h w"]]) -> Float[Tensor, "b c h w"]:
        """Combine the inputs, earliest first."""
        out = self.norm(self.mix(torch.cat(list(inputs), dim=1)))
        if self.gain is None:
            return self.activation(inputs[-1] + out)
        added = self.gain[:, None, None] * self.activation(out)  # in float32 under autocast, as the gain is
        return inputs[-1] + added.to(inputs[-1].dtype)
