"""Augmentation of small images in whole batches on their device: shifted by whole pixels, mirrored."""

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor


class Shift:
    """Shift each image by up to `pad` pixels to any side and mirror half of them, as is usual for 32-pixel images.

    It is the random crop of an image that was padded by its own reflection, and exact: no pixel is interpolated.
    Parameters are drawn per image, on the CPU, from the image's own seed; so they depend neither on the device nor on
    what else is in the batch.

    Args:
        pad: Largest shift, in pixels, less than the side of the image.
        flip: Mirror left and right, half of the time.
    """

    def __init__(self, *, pad: int, flip: bool) -> None:
        if pad < 0:
            raise ValueError(f"pad is {pad}; expected a number of pixels, at least 0")
        self.pad, self.flip = pad, flip

    def draw(self, seed: int) -> Int64[Tensor, "3"]:
        """One image's parameters: shift down and right, in pixels, and 1 to mirror, else 0."""
        low, high = torch.tensor([-self.pad, -self.pad, 0]), torch.tensor([self.pad, self.pad, int(self.flip)])
        chance = torch.rand(3, generator=torch.Generator().manual_seed(seed))
        return low + (chance * (high - low + 1)).long()

    def __call__(self, images: UInt8[Tensor, "b 3 h w"], parameters: Int64[Tensor, "b 3"]) -> UInt8[Tensor, "b 3 h w"]:
        """The images, shifted and mirrored; rows of `parameters` come from `draw`."""
        down, right, mirror = parameters[:, :, None].unbind(1)  # (B, 1) each
        height, width = images.shape[-2:]
        rows = _reflected(torch.arange(height, device=images.device) - down, height)
        columns = torch.arange(width, device=images.device)
        columns = _reflected(torch.where(mirror > 0, width - 1 - columns, columns) - right, width)
        batch = torch.arange(len(images), device=images.device)
        shifted = images[batch[:, None, None], :, rows[:, :, None], columns[:, None, :]]  # (B, H, W, 3)
        return shifted.permute(0, 3, 1, 2)


def _reflected(place: Int64[Tensor, "b n"], length: int) -> Int64[Tensor, "b n"]:
    """Places outside 0 to length - 1, by less than the length, mirrored at the border pixel."""
    return length - 1 - (length - 1 - place.abs()).abs()
