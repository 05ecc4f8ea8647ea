"""What a classifier sees of an image: a random part to train, its centre or ten crops to measure; by torchvision."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torchvision.transforms import v2

from dla.data.classification.lighting import Lighting, jittered
from dla.data.random_view import FILL

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
    jitter: float = 0.0,
    lighting: float = 0.0,
    policy: str | None = None,
) -> v2.Compose:
    """A transform of (image, label) to (image, label), uint8 (3, crop, crop), as ImageNet is trained on.

    Args:
        crop: Side of the result, in pixels.
        scale: Range of the part of the area that is cut out, at an aspect between 3:4 and 4:3.
        flip: Mirror left and right, half of the time.
        color: Brightness, contrast and saturation vary by factors in [1 - color, 1 + color]; 0 turns it off.
        jitter: Brightness, contrast and sharpness vary so instead, in random order, as in the authors' recipe.
        lighting: Standard deviation of light along ImageNet's principal components, see `Lighting`; 0 turns it off.
        policy: Further augmentation at torchvision's own settings, one of `Policy`, or None.

    Raises:
        ValueError: an argument makes no sense; the message names it.
    """
    _check(crop=crop, scale=scale, color=color, jitter=jitter, lighting=lighting, policy=policy)
    steps: list[Any] = [v2.RandomResizedCrop(crop, scale=scale, antialias=True)]
    if jitter:
        steps.append(jittered(jitter))
    if lighting:
        steps.append(Lighting(lighting))
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


class TenCrop(v2.FiveCrop):
    """The four corners, the centre, and the mirror image of each, stacked: (10, 3, crop, crop).

    Torchvision's cuts them out of the mirror image, whose centre lies a pixel elsewhere where the rest is odd.
    """

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Cut them out of one image."""
        crops = torch.stack(super().transform(inpt, params))
        return torch.cat([crops, crops.flip(-1)])


def ten_views(*, crop: int, resize: int) -> v2.Compose:
    """A transform of (image, label): the shorter side is resized, antialiased, and ten crops cut out, in pixels."""
    if not 1 <= crop < resize:
        raise ValueError(
            f"crop is {crop} and resize is {resize}; ten crops need a shorter side larger than the crop: raise resize"
        )
    return v2.Compose([v2.Resize(resize, antialias=True), TenCrop(crop)])


def _check(
    *, crop: int, scale: tuple[float, float], color: float, jitter: float, lighting: float, policy: str | None
) -> None:
    if crop < 1:
        raise ValueError(f"crop is {crop}; expected a side of at least 1 pixel")
    if not 0 < scale[0] <= scale[1] <= 1:
        raise ValueError(
            f"scale is {scale}; expected two parts of the area, the smaller one first, above 0 and up to 1"
        )
    if color < 0 or jitter < 0 or lighting < 0:
        raise ValueError(
            f"color is {color}, jitter {jitter}, lighting {lighting}; expected 0, which turns each off, or more"
        )
    if color and jitter:
        raise ValueError(f"color is {color} and jitter {jitter}; both vary brightness and contrast: turn one off, by 0")
    if policy and policy not in POLICIES:
        raise ValueError(f"policy is {policy!r}; expected one of {', '.join(POLICIES)}, or null")
