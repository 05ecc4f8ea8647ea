"""What a classifier sees of an image: a random part of it to train, its centre to measure, by torchvision's v2."""

from collections.abc import Callable
from typing import Any, Literal, get_args

from torchvision.transforms import v2

from dla.data.transforms import FILL

Policy = Literal["randaugment", "trivialaugment", "autoaugment", "augmix"]
POLICIES: dict[str, Callable[..., v2.Transform]] = dict(
    zip(get_args(Policy), (v2.RandAugment, v2.TrivialAugmentWide, v2.AutoAugment, v2.AugMix), strict=True)
)


def random_view(
    *,
    crop: int,
    scale: tuple[float, float] = (0.08, 1.0),
    flip: bool = True,
    color: float = 0.0,
    policy: str | None = None,
) -> v2.Compose:
    """A transform of (image, label) to (image, label), uint8 (3, crop, crop), as ImageNet is trained on.

    Args:
        crop: Side of the result, in pixels.
        scale: Range of the part of the area that is cut out, at an aspect between 3:4 and 4:3.
        flip: Mirror left and right, half of the time.
        color: Brightness, contrast and saturation vary by factors in [1 - color, 1 + color]; 0 turns it off.
        policy: Further augmentation at torchvision's own settings, one of `Policy`, or None.

    Raises:
        ValueError: an argument makes no sense; the message names it.
    """
    if crop < 1:
        raise ValueError(f"crop is {crop}; expected a side of at least 1 pixel")
    if not 0 < scale[0] <= scale[1] <= 1:
        raise ValueError(
            f"scale is {scale}; expected two parts of the area, the smaller one first, above 0 and up to 1"
        )
    if color < 0:
        raise ValueError(f"color is {color}; expected 0, which turns it off, or more")
    if policy and policy not in POLICIES:
        raise ValueError(f"policy is {policy!r}; expected one of {', '.join(POLICIES)}, or null")
    steps: list[Any] = [v2.RandomResizedCrop(crop, scale=scale, antialias=True)]
    if flip:
        steps.append(v2.RandomHorizontalFlip())
    if color:
        steps.append(v2.ColorJitter(brightness=color, contrast=color, saturation=color))
    if policy:
        steps.append(POLICIES[policy](fill=list(FILL)))
    return v2.Compose(steps)


def center_view(*, crop: int, resize: int) -> v2.Compose:
    """A transform of (image, label): the shorter side is resized, antialiased, and the centre cut out, in pixels."""
    if not 1 <= crop <= resize:
        raise ValueError(f"crop is {crop} and resize is {resize}; expected sides in pixels, resize at least crop")
    return v2.Compose([v2.Resize(resize, antialias=True), v2.CenterCrop(crop)])
