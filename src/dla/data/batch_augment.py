"""Joint augmentation of whole batches on their device: one affine sampling, one colour step, parameters per image."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Num, UInt8
from torch import Tensor

from dla.data.random_view import FILL
from dla.data.sample import IGNORE_INDEX
from dla.data.seen import seen
from dla.data.transforms import MIDDLE, PerChannel, check_ranges, per_channel

COVER = 0.25  # the part of a pixel that a thin line has to cover
PADDINGS = {"constant": "zeros", "reflect": "reflection"}  # our names, and those of grid_sample
GRAY = (0.2989, 0.587, 0.114)  # luma, as torchvision weighs it


class BatchAugment:
    """The augmentation of `joint_transforms` for a batch of images of one size, from 0 to 255, on any device.

    Parameters are drawn per image, on the CPU, from the image's own seed; so they do not depend on the device or on
    what else is in the batch. Scale, rotation, crop and flip are one affine map, sampled once: bilinear for images,
    nearest for masks. An image that is neither scaled nor turned is cut at whole pixels, and stays as sharp as it is.
    Outside lies the mean colour, 255 in the mask, or the mirror image of both. Brightness, contrast and saturation
    follow in this order. Three channels are red, green and blue; of others all weigh alike, and the mean is the middle.

    Scaling down without a filter would alias. An antialiased resize by s < 1 filters with a triangle of variance
    1/(6 s^2) square pixels; bilinear sampling alone gives 1/6. So the image is first blurred by
    [w/4, 1 - w/2, w/4], of variance w/2, with w = (1/s^2 - 1)/3: nothing at s = 1, [1, 2, 1]/4 at s = 1/2.
    Below 1/2 the blur stays at that, and some aliasing is left.

    Args:
        crop: Side of the square cut out at random, in pixels; smaller images are padded at random sides.
        scale: Range of the uniform random factor of the size; None keeps the size.
        rotate: Largest rotation to either side, in degrees; 0 turns it off.
        flip: Mirror left and right, half of the time.
        color: Brightness, contrast and saturation vary by factors in [1 - color, 1 + color]; 0 turns it off.
        padding: What lies outside: "constant", the mean colour, which does not count, or "reflect", the image mirrored
            at its edges together with its mask, which counts as any other part: the truth of a mirror image.
        lines: The masks hold thin lines of class 1, beside 0 and 255, and keep them whole when they are turned; made
            smaller, to 0.7 to 0.9, one of ten or twenty gets a gap. Turned, they are about half as wide again.
    """

    def __init__(
        self,
        *,
        crop: int,
        scale: tuple[float, float] | None = (0.5, 2.0),
        rotate: float = 10.0,
        flip: bool = True,
        color: float = 0.0,
        padding: Literal["constant", "reflect"] = "constant",
        lines: bool = False,
    ) -> None:
        check_ranges(crop=crop, scale=scale, rotate=rotate, color=color)
        self.crop, self.scale, self.rotate, self.flip, self.color = crop, scale or (1.0, 1.0), rotate, flip, color
        if padding not in PADDINGS:
            raise ValueError(f"padding is {padding!r}; expected {' or '.join(map(repr, PADDINGS))}")
        self.padding, self.lines = PADDINGS[padding], lines

    def draw(self, seed: int) -> Float[Tensor, "8"]:
        """One image's parameters: scale, angle (radians), mirror (1 or -1), position x and y, three colour factors.

        The position is 0 at the left or top end of the room there is for the crop, 1 at the other end.
        """
        chance = torch.rand(8, generator=torch.Generator().manual_seed(seed))
        angle, factor = math.radians(self.rotate), self.color
        low = torch.tensor([self.scale[0], -angle, 0.0, 0.0, 0.0, *3 * [max(0.0, 1 - factor)]])
        high = torch.tensor([self.scale[1], angle, 1.0, 1.0, 1.0, *3 * [1 + factor]])
        drawn = low + (high - low) * chance
        drawn[2] = -1.0 if self.flip and chance[2] < 0.5 else 1.0
        return drawn

    def __call__(
        self, images: Num[Tensor, "b k h w"], masks: UInt8[Tensor, "b h w"], parameters: Float[Tensor, "b 8"]
    ) -> tuple[Float[Tensor, "b k c c"], UInt8[Tensor, "b c c"]]:
        """Augmented images, float32 between 0 and 255, and their masks; rows of `parameters` come from `draw`."""
        parameters = parameters.float()  # which trainers convert to their own precision
        return self._augmented(images, masks, parameters, self._grid(parameters, *images.shape[-2:]))

    def _augmented(
        self, images: Num[Tensor, "b k h w"], masks: UInt8[Tensor, "b h w"], parameters: Tensor, grid: Tensor
    ) -> tuple[Float[Tensor, "b k c c"], UInt8[Tensor, "b c c"]]:
        # Both are shifted so that the zeros which grid_sample finds outside stand for the mean colour and for 255.
        fill = per_channel(_of_channels(images, FILL, 255 * MIDDLE), images.device)
        images = self._sample(_antialiased(images.float() - fill, parameters[:, 0]), grid, "bilinear") + fill
        if self.lines:
            masks = self._lines(masks, parameters[:, 0], grid)
        else:
            masks = (self._sample(masks[:, None].float() - IGNORE_INDEX, grid, "nearest") + IGNORE_INDEX)[:, 0]
        if self.color:
            images = _colored(images, parameters[:, 5:])
        return images, masks.to(torch.uint8)  # (B, K, crop, crop), (B, crop, crop)

    def single(
        self, image: Num[Tensor, "k h w"], mask: UInt8[Tensor, "h w"]
    ) -> tuple[Num[Tensor, "k c c"], UInt8[Tensor, "c c"]]:
        """One sample, of any size, with parameters drawn by torch's own generator, as by `joint_transforms`.

        The image keeps its type.
        """
        parameters = self.draw(int(torch.randint(2**63 - 1, ())))[None]
        grid, rows, columns = seen(self._grid(parameters, *mask.shape), *mask.shape)
        images, masks = self._augmented(image[None, :, rows, columns], mask[None, rows, columns], parameters, grid)
        return (images[0] if image.is_floating_point() else images[0].round().to(image.dtype)), masks[0]

    def _sample(self, maps: Float[Tensor, "b k h w"], grid: Tensor, mode: str) -> Float[Tensor, "b k c c"]:
        return F.grid_sample(maps, grid, mode=mode, padding_mode=self.padding, align_corners=False)

    def _lines(self, masks: UInt8[Tensor, "b h w"], scale: Float[Tensor, " b"], grid: Tensor) -> UInt8[Tensor, "b c c"]:
        """Masks where a pixel is 1 if lines of class 1 cover a quarter of it, else 0 if class 0 covers the rest.

        The nearest pixel would tear a line of one pixel when it is turned. Between four pixels of a diagonal a quarter
        is left of it; and less in a small image, where a pixel is wider than the line.
        """
        cover = torch.stack([masks == 1, masks == 0], 1).float()  # (B, 2, H, W)
        line, ground = self._sample(_antialiased(cover, scale), grid, "bilinear").unbind(1)
        least = COVER * scale.clamp(max=1).view(-1, 1, 1)
        ignored = torch.full_like(line, IGNORE_INDEX, dtype=torch.uint8)
        return ignored.masked_fill(ground > 1 - least, 0).masked_fill(line >= least, 1)

    def _grid(self, parameters: Float[Tensor, "b 8"], height: int, width: int) -> Float[Tensor, "b c c 2"]:
        """For each pixel of the crop its place (x, y) in the source, which spans -1 to 1 between its outer edges.

        Written out, because a matrix product may run in TF32, whose error here is a part of a pixel.
        """
        scale, angle, mirror, x, y = parameters[:, :5, None, None].unbind(1)  # (B, 1, 1) each
        steps = torch.arange(self.crop, device=parameters.device, dtype=torch.float32) + (0.5 - self.crop / 2)
        # From the centre of the scaled and turned image, in its pixels: (B, 1, crop) and (B, crop, 1).
        still = (angle == 0) & (scale == 1)  # then whole pixels are cut out, and not blurred between them
        right = steps * mirror + _offset(x, width * scale - self.crop, still)
        down = steps[:, None] + _offset(y, height * scale - self.crop, still)
        cos, sin = angle.cos() / scale, angle.sin() / scale
        return torch.stack(
            [(cos * right - sin * down) * (2 / width), (sin * right + cos * down) * (2 / height)], dim=-1
        )


def _of_channels(images: Tensor, rgb: PerChannel, each: float) -> PerChannel:
    """What holds for red, green and blue, or for images of other channels the same for each."""
    channels = images.shape[1]
    return rgb if channels == 3 else channels * (each,)


def _offset(position: Tensor, room: Tensor, still: Tensor) -> Tensor:
    """How far the crop's centre lies from the image's, at a position from 0 to 1 in the room."""
    start = position * room
    return torch.where(still, start.round(), start) - room / 2


def _antialiased(images: Float[Tensor, "b k h w"], scale: Float[Tensor, " b"]) -> Float[Tensor, "b k h w"]:
    weight = ((scale**-2 - 1) / 3).clamp(0, 1).view(-1, 1, 1, 1)
    for dim in (2, 3):
        length = images.shape[dim]
        before = torch.cat([images.narrow(dim, 0, 1), images.narrow(dim, 0, length - 1)], dim)
        after = torch.cat([images.narrow(dim, 1, length - 1), images.narrow(dim, length - 1, 1)], dim)
        images = images + (before + after - 2 * images) * (weight / 4)
    return images


def _colored(images: Float[Tensor, "b k h w"], factors: Float[Tensor, "b 3"]) -> Float[Tensor, "b k h w"]:
    """Brightness scales, contrast moves away from the image's mean grey, saturation from each pixel's grey."""
    brightness, contrast, saturation = factors.view(-1, 3, 1, 1, 1).unbind(1)
    gray = per_channel(_of_channels(images, GRAY, 1 / images.shape[1]), images.device)
    images = (images * brightness).clamp(0, 255)
    mean = (images * gray).sum(1, keepdim=True).mean((2, 3), keepdim=True)  # (B, 1, 1, 1)
    images = torch.lerp(mean, images, contrast).clamp(0, 255)
    return torch.lerp((images * gray).sum(1, keepdim=True), images, saturation).clamp(0, 255)
