"""A square cut at random out of an image and its mask, scaled and turned, by torchvision."""

import math
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from dla.data.sample import IGNORE_INDEX

FILL = (124, 116, 104)  # 255 times ImageNet's mean: what lies outside an image: close to 0 once normalised


class RandomView(v2.Transform):
    """Cut a square out of the scaled and turned image; images antialiased and bilinear, masks nearest.

    It shows what scaling, turning and cropping the whole image one after another would, and works on no more of it than
    is seen. Pixels of image and mask have the same centres; outside is the mean colour, and 255 in the mask. v2's own
    random resizes aim at sizes in pixels; this takes any image by a factor of its own size.

    Args:
        crop: Side of the square, in pixels.
        scale: Smallest and largest factor of the size, both above 0.
        rotate: Largest rotation to either side, in degrees.
    """

    def __init__(self, crop: int, scale: tuple[float, float] = (1.0, 1.0), rotate: float = 0.0) -> None:
        super().__init__()
        self.crop, self.scale, self.rotate = crop, scale, rotate

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw what image and mask get alike: a square of the source, the side that it gets, and its angle, in degrees.

        The crop lies anywhere in the frame of the scaled image, in which that is turned about its middle; or, where the
        frame is smaller, around it.
        """
        factor = torch.empty(()).uniform_(*self.scale).item()
        angle = torch.empty(()).uniform_(-self.rotate, self.rotate).item()
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        # The turned crop lies within it, pixel centres between pixel centres, about one middle.
        side = self.crop + 2 * math.ceil((self.crop - 1) * (abs(cos) + abs(sin) - 1) / 2)
        source = max(1, round(side / factor))
        size = F.get_size(flat_inputs[0])
        # From the middle of the image to that of the crop, in pixels of the source.
        down, right = ((torch.rand(()).item() - 0.5) * (length - source * self.crop / side) for length in size)
        ways = (cos * down + sin * right, cos * right - sin * down)  # turned back
        top, left = (
            min(max(round((length - source) / 2 + way), 1 - source), length - 1)  # one pixel at least is seen
            for length, way in zip(size, ways, strict=True)
        )
        return {"square": (top, left, source), "side": side, "angle": angle}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Cut out one of the inputs."""
        fill = IGNORE_INDEX if isinstance(inpt, tv_tensors.Mask) else list(FILL)
        view = resized(_square(inpt, fill, *params["square"]), 2 * [params["side"]])
        if params["angle"]:
            view = F.rotate(view, params["angle"], interpolation=InterpolationMode.BILINEAR, fill=fill)
        return F.center_crop(view, [self.crop, self.crop])


def _square(part: Any, fill: int | list[int], top: int, left: int, side: int) -> Any:
    """A square of an image or a mask, filled where it lies outside."""
    height, width = F.get_size(part)
    rows, columns = range(max(top, 0), min(top + side, height)), range(max(left, 0), min(left + side, width))
    outside = [columns.start - left, rows.start - top, left + side - columns.stop, top + side - rows.stop]
    return F.pad(F.crop(part, rows.start, columns.start, len(rows), len(columns)), outside, fill=fill)


def resized(part: Any, size: list[int]) -> Any:
    """An image or a mask at a size (h, w) in pixels.

    Each pixel of a mask takes the class at its centre; torchvision takes that at its corner, half a pixel up and left.
    """
    if not isinstance(part, tv_tensors.Mask):
        return F.resize(part, size=size, antialias=True)
    image = part.as_subclass(Tensor)[None]
    mask = F.resize_image(image, size, interpolation=InterpolationMode.NEAREST_EXACT)[0]
    return tv_tensors.wrap(mask, like=part)
