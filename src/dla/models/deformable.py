"""Modulated deformable convolution: a 3x3 kernel whose nine samples move and are weighted (Zhu et al., 2019)."""

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, grid_sample

TAPS = 9  # of a 3x3 kernel


class DeformableConv(nn.Module):
    """A 3x3 convolution that learns, for each pixel, where its nine samples lie and how much each of them counts.

    An ordinary convolution predicts two offsets and a weight from 0 to 1 for each tap. It starts at zero: there the
    samples lie on the usual grid, and each counts one half. Samples between pixels are interpolated bilinearly, with
    zeros outside the map.

    Args:
        in_channels: of the map.
        out_channels: of the result.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = SampledConv2d(in_channels, out_channels, 3, padding=1)
        self.offsets = nn.Conv2d(in_channels, 3 * TAPS, 3, padding=1)
        for value in (self.conv.bias, *self.offsets.parameters()):
            nn.init.zeros_(value)  # type: ignore[arg-type]

    def forward(self, x: Float[Tensor, "b _ h w"]) -> Float[Tensor, "b c h w"]:
        """(b, in_channels, h, w) -> (b, out_channels, h, w)."""
        # The first 18 channels are (down, right) of tap after tap, row by row, in pixels; the other nine are weights.
        offsets, weights = self.offsets(x).split([2 * TAPS, TAPS], dim=1)
        device = "cpu" if x.is_meta else x.device.type  # autocast knows no meta device
        with torch.autocast(device, enabled=False):  # in bfloat16 a place would be off by pixels
            return self.conv(x, offsets, weights.sigmoid())


class SampledConv2d(nn.Conv2d):
    """torchvision's `DeformConv2d`, on a GPU by its operation, and elsewhere by those that every runtime has.

    A map is sampled on a grid, and a 1x1 convolution is over the samples. On a CPU torchvision's own takes two to
    seven times as long, and OpenVINO and TensorRT do not know it. Results have the type of the weights; with weights in
    bfloat16, and off a GPU in float16, it computes in float32.
    """

    padding: tuple[int, int]  # not "same"

    def forward(  # type: ignore[override]
        self,
        x: Float[Tensor, "b _ h w"],
        offset: Float[Tensor, "b _ y x"],
        mask: Float[Tensor, "b _ y x"] | None = None,
    ) -> Float[Tensor, "b c y x"]:
        """(b, in_channels, h, w), and for each pixel of the result and each tap (down, right), and a weight."""
        wide = self.weight.dtype == torch.bfloat16 or (self.weight.dtype == torch.float16 and not x.is_cuda)
        dtype = torch.float32 if wide else self.weight.dtype
        x, offset, weight = (value.to(dtype) for value in (x, offset, self.weight))
        bias, mask = (value if value is None else value.to(dtype) for value in (self.bias, mask))
        if x.is_cuda:
            from torchvision.ops import deform_conv2d  # here, because it takes as long to import as torch

            out = deform_conv2d(x, offset, weight, bias, self.stride, self.padding, self.dilation, mask)
        else:
            out = conv2d(self._samples(x, offset, mask), weight.flatten(1)[:, :, None, None], bias, groups=self.groups)
        return out.to(self.weight.dtype)

    def _samples(self, x: Tensor, offset: Tensor, mask: Tensor | None) -> Float[Tensor, "b _ y x"]:
        """(b, in_channels * taps, y, x): what each tap reads of each map, weighted."""
        (batch, channels, *size), (height, width) = x.shape, offset.shape[2:]
        taps = self.kernel_size[0] * self.kernel_size[1]
        maps = offset.shape[1] // (2 * taps)  # groups of channels that move together
        grid = self._grid(offset.reshape(batch * maps, taps, 2, height, width), size).flatten(1, 2)
        values = grid_sample(x.reshape(batch * maps, channels // maps, *size), grid, align_corners=False)
        values = values.reshape(batch * maps, channels // maps, taps, height, width)
        if mask is not None:
            weights = mask.reshape(batch * maps, 1, taps, height, width)
            values = values * weights if torch.is_grad_enabled() else values.mul_(weights)  # they are many
        return values.reshape(batch, channels * taps, height, width)

    def _grid(self, offset: Float[Tensor, "n t 2 y x"], size: Sequence[int]) -> Float[Tensor, "n t y x 2"]:
        """Where each tap lies on a map of this size: (right, down), from -1 to 1, its outer edges."""
        count = partial(torch.arange, device=offset.device)
        ways = zip(self.kernel_size, self.dilation, self.padding, strict=True)
        taps = torch.cartesian_prod(*(count(side) * dilation - padding for side, dilation, padding in ways))
        starts = [count(side) * stride for side, stride in zip(offset.shape[3:], self.stride, strict=True)]
        places = offset + taps[:, :, None, None] + torch.stack(torch.meshgrid(*starts, indexing="ij"))
        down, right = ((2 * place + 1) / side - 1 for place, side in zip(places.unbind(2), size, strict=True))
        return torch.stack([right, down], -1)
