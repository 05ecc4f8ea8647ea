"""Joint augmentation of one sample at a time: scale, rotate, crop, flip, colour, by torchvision's v2 transforms."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from dla.data.sample import IGNORE_INDEX, Sample, make_sample

PerChannel = tuple[float, ...]
MEAN = (0.485, 0.456, 0.406)  # ImageNet's, in RGB between 0 and 1
STD = (0.229, 0.224, 0.225)
MIDDLE, SPREAD = 0.5, 0.25  # by which bands are normalised, of their ranges from 0 to 1
FILL = (124, 116, 104)  # 255 times the mean: what lies outside an image: close to 0 once normalised


class AsSample(nn.Module):
    """Says which is the image and which the mask, since v2's transforms move but the first of two plain tensors."""

    def forward(self, image: Tensor, mask: Tensor) -> Sample:
        """The same two."""
        return make_sample(image, mask)


class RandomScale(v2.Transform):
    """Resize by a factor drawn uniformly from `scale`, keeping the aspect; images antialiased, masks nearest.

    Pixels of both have the same centres.

    v2's own random resizes aim at sizes in pixels; this one takes any image by a factor of its own size.

    Args:
        scale: Smallest and largest factor, both above 0.
    """

    def __init__(self, scale: tuple[float, float]) -> None:
        super().__init__()
        self.scale = scale

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the factor, and from it the size, (H, W) in pixels, that image and mask get alike."""
        factor = torch.empty(()).uniform_(*self.scale).item()
        height, width = F.get_size(flat_inputs[0])
        return {"size": [max(1, round(height * factor)), max(1, round(width * factor))]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Resize one of the inputs."""
        return resized(inpt, params["size"])


def resized(part: Any, size: list[int]) -> Any:
    """An image or a mask at a size (h, w) in pixels.

    Each pixel of a mask takes the class at its centre; torchvision takes that at its corner, half a pixel up and left.
    """
    if not isinstance(part, tv_tensors.Mask):
        return F.resize(part, size=size, antialias=True)
    image = part.as_subclass(Tensor)[None]
    mask = F.resize_image(image, size, interpolation=InterpolationMode.NEAREST_EXACT)[0]
    return tv_tensors.wrap(mask, like=part)


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
    fill = {tv_tensors.Image: FILL, tv_tensors.Mask: IGNORE_INDEX}
    steps: list[nn.Module] = [AsSample()]
    if scale is not None:
        steps.append(RandomScale(scale))
    if rotate:
        steps.append(v2.RandomRotation(rotate, interpolation=InterpolationMode.BILINEAR, fill=fill))
    steps.append(v2.RandomCrop(crop, pad_if_needed=True, fill=fill))
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
