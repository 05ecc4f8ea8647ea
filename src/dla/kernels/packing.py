"""Which convolutions the kernels for few channels compute, and images and weights as they read them."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dla.kernels.memory import power_of_2

LARGEST = 7  # window whose gradient fits into a multiprocessor
WIDEST = 64  # channels of the result


def narrow(conv: nn.Conv2d, inputs: int, stride: int) -> bool:
    """Whether `conv` has at most so many inputs and such a stride, at most `WIDEST` outputs, and a usual window.

    That is a square one of an odd side of at most `LARGEST`, padded with zeros by half of it, in one piece.
    """
    side, step = conv.kernel_size[0], conv.stride[0]
    own = conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups, conv.padding_mode
    usual = (side, side), (step, step), (side // 2, side // 2), (1, 1), 1, "zeros"
    small = conv.in_channels <= inputs and conv.out_channels <= WIDEST and side <= LARGEST and step <= stride
    return own == usual and small and side % 2 == 1


def filled(image: Float[Tensor, "b c h w"], channels: int) -> Float[Tensor, "b k h w"]:
    """The map with so many channels, those added zeros, and channels last in memory."""
    spare = channels - image.shape[1]
    return (F.pad(image, (0, 0, 0, 0, 0, spare)) if spare else image).contiguous(memory_format=torch.channels_last)


def packed(weight: Float[Tensor, "o c k k"], inputs: int, pixels: int) -> Float[Tensor, "k _ _"]:
    """A convolution's weight as the kernel reads it: (rows of the window, inputs, outputs), filled up with zeros.

    Inputs are the window's columns, `pixels` - 1 more than it has, each with `inputs` channels; outputs are those of
    `pixels` neighbouring positions, one after another. Both are filled up to a power of 2 of at least 16.
    """
    outputs, channels, window, _ = weight.shape
    flat = F.pad(weight.permute(2, 3, 1, 0), (0, 0, 0, inputs - channels))  # rows, columns, inputs, outputs
    shifted = [F.pad(flat, (0, 0, 0, 0, shift, pixels - 1 - shift)) for shift in range(pixels)]
    matrix = torch.stack(shifted, 3).reshape(window, (window + pixels - 1) * inputs, pixels * outputs)
    spare = [power_of_2(side) - side for side in matrix.shape[1:]]
    return F.pad(matrix, (0, spare[1], 0, spare[0])).contiguous()


def unpacked(
    gradient: Float[Tensor, "k _ _"], shape: tuple[int, int, int, int], inputs: int, pixels: int
) -> Float[Tensor, "o c k k"]:
    """Gradient of a convolution's weight of this shape from that of its `packed` form."""
    outputs, channels, window, _ = shape
    columns = window + pixels - 1
    used = gradient[:, : columns * inputs, : pixels * outputs].reshape(window, columns, inputs, pixels, outputs)
    shifted = [used[:, shift : shift + window, :channels, shift] for shift in range(pixels)]
    return torch.stack(shifted).sum(0).permute(3, 2, 0, 1)
