"""Modulated deformable convolution: a 3x3 kernel whose nine samples move and are weighted (Zhu et al., 2019)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

TAPS = 9  # of a 3x3 kernel


class DeformableConv(nn.Module):
    """A 3x3 convolution that learns, for each pixel, where its nine samples lie and how much each of them counts.

    An ordinary convolution predicts two offsets and a weight from 0 to 1 for each tap. It starts at zero: there the
    samples lie on the usual grid, and each counts one half. Samples between pixels are interpolated bilinearly, with
    zeros outside the map. Runs on `torchvision.ops.deform_conv2d`, on any device.

    Args:
        in_channels: of the map.
        out_channels: of the result.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        from torchvision.ops import DeformConv2d  # here, because it takes as long to import as torch

        self.conv = DeformConv2d(in_channels, out_channels, 3, padding=1)
        self.offsets = nn.Conv2d(in_channels, 3 * TAPS, 3, padding=1)
        for value in (self.conv.bias, *self.offsets.parameters()):
            nn.init.zeros_(value)

    def forward(self, x: Float[Tensor, "b _ h w"]) -> Float[Tensor, "b c h w"]:
        """(b, in_channels, h, w) -> (b, out_channels, h, w)."""
        # The first 18 channels are (down, right) of tap after tap, row by row, in pixels; the other nine are weights.
        offsets, weights = self.offsets(x).split([2 * TAPS, TAPS], dim=1)
        device = "cpu" if x.is_meta else x.device.type  # autocast knows no meta device
        with torch.autocast(device, enabled=False):  # the operator has no bfloat16
            if self.conv.weight.dtype == torch.bfloat16:
                return self._wide(x, offsets, weights.sigmoid())
            return self.conv(*(value.to(self.conv.weight.dtype) for value in (x, offsets, weights.sigmoid())))

    def _wide(self, x: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
        """A network in bfloat16, computed in float32."""
        from torchvision.ops import deform_conv2d

        values = (value.float() for value in (x, offsets, self.conv.weight, self.conv.bias))
        return deform_conv2d(*values, padding=1, mask=weights.float()).to(x.dtype)
