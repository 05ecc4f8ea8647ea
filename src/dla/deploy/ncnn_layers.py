"""The layers of a folded network as ncnn computes them faster: convolutions of images, and bilinear upsampling.

    k x k, stride 1, n channels   ==   (k + 1) x (k + 1), stride 2, 4 n channels, and pixel shuffling
    transposed convolution        ==   interpolation of the map with a border of zeros, without what is beyond

For the former ncnn first copies the window of every position. Half the resolution has a quarter of the windows, which
are hardly larger; for 7x7 that is worth a third more multiplications.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import skip_init

from dla.deploy.replace import halves, hooked, is_chain, join_activations, refilled, replaced
from dla.kernels.packing import narrow
from dla.models.deformable import SampledConv2d
from dla.models.upsample import FixedUpsample, fit

IMAGE = 4  # channels, at most
LEAST = -1e30  # instead of infinity, which ncnn cannot read
SMALLEST = 5  # window; four of 3x3 need 1.8 times the multiplications


class CoarseConvReLU(nn.Module):
    """A convolution of images that keeps their size, and ReLU."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        window = conv.kernel_size[0]
        self.before = window // 2  # zeros to the left and above
        # Without weights, for which random numbers would be drawn.
        self.conv = skip_init(nn.Conv2d, conv.in_channels, 4 * conv.out_channels, window + 1, 2)
        places = [F.pad(conv.weight.detach(), (x, 1 - x, y, 1 - y)) for y in (0, 1) for x in (0, 1)]
        self.conv.weight = nn.Parameter(torch.stack(places, 1).flatten(0, 1))
        assert conv.bias is not None  # since `join_activations` gives no other
        self.conv.bias = nn.Parameter(conv.bias.detach().repeat_interleave(4))

    @staticmethod
    def takes(conv: nn.Conv2d) -> bool:
        """Whether it is one that this computes, and faster."""
        return narrow(conv, IMAGE, stride=1) and conv.kernel_size[0] >= SMALLEST

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n h w"]:
        """Images -> maps of their size."""
        height, width = x.shape[2:]
        sides = self.before, self.before + 1
        return fit(F.pixel_shuffle(F.relu(self.conv(F.pad(x, sides * 2))), 2), (height, width))  # from even sizes


class Halved(nn.Module):
    """Max pooling by 2 that rounds sizes up; of maps one pixel high or wide, ncnn's own gives two."""

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c _ _"]:
        """(b, c, h, w) -> (b, c, ceil(h / 2), ceil(w / 2))."""
        height, width = x.shape[2:]
        if height > 1 and width > 1:
            return F.max_pool2d(x, 2, 2, ceil_mode=True)
        return F.max_pool2d(F.pad(x, (0, width % 2, 0, height % 2), value=LEAST), 2, 2)


class Interpolated(nn.Module):
    """A `FixedUpsample`."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Float[Tensor, "b c _ _"], size: tuple[int, int]) -> Float[Tensor, "b c h w"]:
        """(b, c, h, w) -> (b, c, *size)."""
        factor = self.factor
        out = F.interpolate(F.pad(x, (1, 1, 1, 1)), scale_factor=float(factor), mode="bilinear", align_corners=False)
        return fit(out[..., factor:-factor, factor:-factor], size)


def for_ncnn(model: nn.Module) -> nn.Module:
    """A copy of `model`, which `dla.deploy.folded` gave, with such layers wherever it has what they replace."""
    return replaced(model, _for_ncnn)


def _for_ncnn(module: nn.Module) -> nn.Module:
    if is_chain(module):
        join_activations(module, lambda conv: CoarseConvReLU(conv) if CoarseConvReLU.takes(conv) else None)
    if type(module) is nn.ConstantPad2d and module.value == -math.inf:
        return nn.ConstantPad2d(module.padding, LEAST)
    if halves(module):
        return Halved()
    if type(module) is SampledConv2d and not hooked(module):  # of torchvision's, ncnn has a layer
        from torchvision.ops import DeformConv2d

        return refilled(DeformConv2d, module)
    return Interpolated(module.factor) if type(module) is FixedUpsample and module.factor > 1 else module
