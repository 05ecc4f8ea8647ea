"""Joint augmentation of one sample at a time: scale, rotate, crop, flip, colour, by torchvision's v2 transforms."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.transforms import v2

from dla.data.random_view import RandomView
from dla.data.sample import Sample, make_sample

PerChannel = tuple[float, ...]
MEAN = (0.485, 0.456, 0.406)  # ImageNet's, in RGB between 0 and 1
STD = (0.229, 0.224, 0.225)
MIDDLE, SPREAD = 0.5, 0.25  # by which bands are normalised, of their ranges from 0 to 1


class AsSample(nn.Module):
    """Says which is the image and which the mask, since v2's transforms move but the first of two plain tensors."""

    def forward(self, image: Tensor, mask: Tensor) -> Sample:
        """The same two."""
        return make_sample(image, mask)


def check_ranges(*, crop: int, scale: tuple[float, float] | None, rotate: float, color: float) -> None:
    """Raise a ValueError that names the argument of an augmentation which makes no sense."""
    if crop < 1:
        raise ValueError(f"crop is {crop}; expected a side of at least 1 pixel")
    if scale is not None and not 0 < scale[0] <= scale[1]:
        raise ValueError(f"scale is {scale}; expected two factors above 0, the smaller one first, or None")
    if rotate < 0 or color < 0:
        raise ValueError(f"rotate is {rotate} and color is {color}; expected 0, which turns it off, or more")


def joint_transforms(
    *,
    crop: int,
    scale: tuple[float, float] | None = (0.5, 2.0),
    rotate: float = 10.0,
    flip: bool = True,
    color: float = 0.0,
) -> v2.Compose:
    """A transform of (image, mask) to (image, mask), uint8 (3, crop, crop) and (crop, crop).

    Whatever falls outside the source is the mean colour in the image and 255 in the mask.

    Args:
        crop: Side of the square cut out at random, in pixels; smaller images are padded at random sides.
        scale: Range of the uniform random factor of the size; None keeps the size.
        rotate: Largest rotation to either side, in degrees; 0 turns it off.
        flip: Mirror left and right, half of the time.
        color: Brightness, contrast and saturation vary by factors in [1 - color, 1 + color]; 0 turns it off.
    """
    check_ranges(crop=crop, scale=scale, rotate=rotate, color=color)
    steps: list[nn.Module] = [AsSample(), RandomView(crop, scale or (1.0, 1.0), rotate)]
    if flip:
        steps.append(v2.RandomHorizontalFlip())
    if color:
        steps.append(v2.ColorJitter(brightness=color, contrast=color, saturation=color))
    return v2.Compose(steps)


def normalized(image: Tensor, mean: PerChannel, std: PerChannel) -> Float[Tensor, "b c h w"]:
    """Images (b, c, h, w) between 0 and 255, of any type, over 255, less `mean` and over `std`, in float32."""
    return (image.float() / 255 - per_channel(mean, image.device)) / per_channel(std, image.device)


def per_channel(values: PerChannel, device: torch.device) -> Float[Tensor, "c 1 1"]:
    """A constant of each channel on a device, filled in there: a copy from the host would wait until it is idle."""
    return torch.stack([torch.full((1, 1), float(value), device=device, dtype=torch.float32) for value in values])
