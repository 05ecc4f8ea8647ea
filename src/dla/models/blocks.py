"""The blocks that DLA aggregates: basic and bottleneck (ResNet), split (ResNeXt), each with its own shortcut.

Where dilation takes the place of a stride, everything is computed at every position as it would be at every second:
the first 3x3 convolution and the pooling read the same pixels as before (`first_dilation`), and what follows reads its
input as if every second position were gone (`dilation`).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn

BlockFactory = Callable[..., nn.Module]
"""`(in_channels, out_channels, stride, *, dilation, first_dilation, drop_path) -> Module`."""


def conv_norm(
    in_channels: int,
    out_channels: int,
    kernel: int,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    layer: type[nn.Conv2d] = nn.Conv2d,
) -> nn.Sequential:
    """Convolution that keeps the size up to its stride, and batch norm."""
    padding = kernel // 2 * dilation
    conv = layer(in_channels, out_channels, kernel, stride, padding, dilation=dilation, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))


def initialise(module: nn.Module) -> None:
    """Convolutions from N(0, 2 / (k k out)), as the authors' networks start; `apply` it to a model."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def pool(stride: int, dilation: int = 1, first_dilation: int | None = None) -> nn.Module:
    """Max pooling by the stride, or by that which dilation replaces; like a 3x3 convolution it rounds sizes up."""
    step = first_dilation or dilation
    if stride > 1:
        return nn.MaxPool2d(stride, stride, ceil_mode=True)
    if dilation == step:
        return nn.Identity()
    beyond = dilation - step  # below and to the right, what `ceil_mode` leaves out
    return nn.Sequential(
        nn.ConstantPad2d((0, beyond, 0, beyond), -math.inf), nn.MaxPool2d(dilation // step, 1, dilation=step)
    )


def shortcut(in_channels: int, out_channels: int, pooling: nn.Module) -> nn.Sequential:
    """Carry a block's input to its output: pool, and project where the channels differ."""
    project = conv_norm(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()
    return nn.Sequential(pooling, project)


class Pooled(NamedTuple):
    """A map, and what a block's shortcut would pool of it: for whom has pooled it already."""

    whole: Tensor
    pooled: Tensor


def with_pooled(x: Tensor | Pooled, pool: nn.Module) -> Pooled:
    """A block's input as both maps; it is pooled where nobody has done so."""
    return x if isinstance(x, Pooled) else Pooled(x, pool(x))


class Residual(nn.Module):
    """`relu(body(x) + shortcut(x))`, the form that all three blocks share."""

    def __init__(self, body: nn.Sequential, around: nn.Sequential, drop_path: float) -> None:
        super().__init__()
        self.body = body
        self.shortcut = around  # pooling, projection
        self.drop_path = _stochastic_depth(drop_path) if drop_path else nn.Identity()
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor | Pooled) -> Tensor:
        """(b, in_channels, h, w) -> (b, out_channels, ceil(h / stride), ceil(w / stride))."""
        pool, project = self.shortcut
        whole, pooled = with_pooled(x, pool)
        out = self.drop_path(self.body(whole))
        out += project(pooled)  # in place: batch norm does not need its result
        return self.activation(out)


def _stochastic_depth(rate: float) -> nn.Module:
    from torchvision.ops import StochasticDepth  # here, because it takes as long to import as torch

    return StochasticDepth(rate, "row")


def basic(
    in_channels: int,
    out_channels: int,
    stride: int,
    *,
    dilation: int = 1,
    first_dilation: int | None = None,
    drop_path: float = 0.0,
) -> Residual:
    """Two 3x3 convolutions."""
    body = nn.Sequential(
        conv_norm(in_channels, out_channels, 3, stride, first_dilation or dilation),
        nn.ReLU(inplace=True),
        conv_norm(out_channels, out_channels, 3, 1, dilation),
    )
    return Residual(body, shortcut(in_channels, out_channels, pool(stride, dilation, first_dilation)), drop_path)


def bottleneck(
    in_channels: int,
    out_channels: int,
    stride: int,
    *,
    dilation: int = 1,
    first_dilation: int | None = None,
    drop_path: float = 0.0,
    width: int | None = None,
    groups: int = 1,
) -> Residual:
    """1x1, 3x3 and 1x1 convolutions; the inner `width` is half of `out_channels` unless given."""
    width = width or out_channels // 2
    body = nn.Sequential(
        conv_norm(in_channels, width, 1),
        nn.ReLU(inplace=True),
        conv_norm(width, width, 3, stride, first_dilation or dilation, groups),
        nn.ReLU(inplace=True),
        conv_norm(width, out_channels, 1),
    )
    return Residual(body, shortcut(in_channels, out_channels, pool(stride, dilation, first_dilation)), drop_path)


def split(
    in_channels: int,
    out_channels: int,
    stride: int,
    *,
    groups: int = 32,
    **options: Any,
) -> Residual:
    """A bottleneck whose 3x3 convolution is split into `groups` paths; every path is `out_channels` / 32 wide.

    Raises:
        ValueError: it would not be a whole number of channels.
    """
    if out_channels % 32:
        raise ValueError(
            f"a split block has a multiple of 32 channels, not {out_channels}: of a network of these only some widths "
            "can be built, such as 0.5 and 2"
        )
    width = out_channels * groups // 32
    return bottleneck(in_channels, out_channels, stride, width=width, groups=groups, **options)
