"""Memory and shapes as the kernels want them."""

from collections.abc import Sequence

import torch
from torch import Tensor


def channels_last(like: Tensor, channels: int, sides: Sequence[int]) -> Tensor:
    """Memory for as many maps as `like` has, of its type, with channels last."""
    shape = (len(like), channels, *sides)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


def power_of_2(count: int) -> int:
    """The next power of 2, at least 16, below which matrix units take nothing."""
    return max(16, 1 << (count - 1).bit_length())
