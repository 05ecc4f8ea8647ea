"""Upsampling in the decoders: transposed convolutions that start out as bilinear interpolation."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def bilinear_kernel(
    factor: int, device: torch.device | None = None, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "k k"]:
    """The kernel with which a transposed convolution of stride `factor` interpolates bilinearly.

    It is 2 `factor` wide, or one less where the factor is odd, so that it is centred on a pixel.
    """
    width = 2 * factor - factor % 2
    ramp = 1 - (torch.arange(width, device=device, dtype=dtype) - (width - 1) / 2).abs() / factor
    return torch.outer(ramp, ramp)


def fit(x: Float[Tensor, "b c _ _"], size: tuple[int, int]) -> Float[Tensor, "b c h w"]:
    """Crop `x` to (h, w) where it exceeds it, at the bottom and right; interpolate only where it falls short."""
    height, width = x.shape[-2:]
    if height < size[0] or width < size[1]:
        return F.interpolate(x[..., : size[0], : size[1]], size, mode="bilinear", align_corners=False)
    if isinstance(height, torch.SymInt) or isinstance(width, torch.SymInt):
        # `torch.export` would tie a slice to sizes that exceed by as much as those of the example do
        return F.pad(x, (0, size[1] - width, 0, size[0] - height))
    return x[..., : size[0], : size[1]]


def enlarge(x: Float[Tensor, "b c h w"], kernel: Float[Tensor, "k k"], factor: int) -> Float[Tensor, "b c _ _"]:
    """Interpolate each channel by a factor, in float32 at least: in half precision close scores would become equal."""
    device = "cpu" if x.is_meta else x.device.type  # autocast knows no meta device
    with torch.autocast(device, enabled=False):
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        weight = kernel.to(x).expand(x.shape[1], 1, -1, -1)
        return F.conv_transpose2d(x, weight, stride=factor, padding=factor // 2, groups=x.shape[1])


# As a whole each, since what they do depends on sizes and devices, which torch.fx does not know.
torch.fx.wrap("fit")
torch.fx.wrap("enlarge")


class LearnedUpsample(nn.Module):
    """A depthwise transposed convolution by `factor`, a power of two, that starts out bilinear; 1 only crops."""

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        self.conv: nn.Module = nn.Identity()
        if factor > 1:
            self.conv = nn.ConvTranspose2d(
                channels, channels, 2 * factor, factor, factor // 2, groups=channels, bias=False
            )
            with torch.no_grad():
                self.conv.weight.copy_(bilinear_kernel(factor))

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(b, c, h, w) -> (b, c, *size)."""
        return fit(self.conv(x), size)


class FixedUpsample(nn.Module):
    """Bilinear interpolation as a transposed convolution; unlike `F.interpolate` it fades to zero at the borders."""

    kernel: Tensor

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.register_buffer("kernel", bilinear_kernel(factor), persistent=False)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> "FixedUpsample":
        # A network that was built without memory gets some by `to_empty`, and weights do not hold the kernel, which
        # bfloat16 cannot hold either.
        empty, dtype = self.kernel.is_meta, self.kernel.dtype
        super()._apply(fn, recurse)
        if not self.kernel.is_meta and (empty or self.kernel.dtype != dtype):
            dtype = torch.promote_types(self.kernel.dtype, torch.float32)
            self.kernel = bilinear_kernel(self.factor, self.kernel.device, dtype)
        return self

    def _load_from_state_dict(self, *arguments: Any) -> None:
        # The same network gets the weights' own memory by `load_state_dict(..., assign=True)`, here too without kernel.
        super()._load_from_state_dict(*arguments)
        _, _, metadata, *_ = arguments
        if metadata.get("assign_to_params_buffers") and self.kernel.is_meta:
            self.kernel = bilinear_kernel(self.factor, torch.device("cpu"))

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(b, c, h, w) -> (b, c, *size)."""
        return fit(enlarge(x, self.kernel, self.factor) if self.factor > 1 else x, size)
