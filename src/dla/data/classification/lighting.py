"""How the authors vary the colours of ImageNet: brightness, contrast and sharpness, then light along its components."""

from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

# Of the RGB values between 0 and 255 of ImageNet's pixels: how far they spread along each principal component, and the
# components as columns (Krizhevsky et al., 2012, as the authors have them).
SPREAD = (55.46, 4.794, 1.148)
COMPONENTS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))


class Lighting(v2.Transform):
    """Add one colour to all pixels of a uint8 image: along each component of ImageNet, by its spread times N(0, std).

    Args:
        std: Standard deviation, 0.1 in the authors' recipe.
    """

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the colour, in whole levels between 0 and 255."""
        strength = torch.randn(3) * self.std * torch.tensor(SPREAD)
        return {"color": (torch.tensor(COMPONENTS) @ strength).round().to(torch.int16)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Shift the image."""
        shifted = (inpt.to(torch.int16) + params["color"].view(3, 1, 1)).clamp(0, 255).to(inpt.dtype)
        return tv_tensors.wrap(shifted, like=inpt)


class RandomSharpness(v2.Transform):
    """Blur or sharpen by a factor drawn uniformly from [1 - amount, 1 + amount]; v2's own takes a fixed factor."""

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = amount

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the factor: 0 is a blurred image, 1 the image itself."""
        return {"factor": torch.empty(()).uniform_(max(0.0, 1 - self.amount), 1 + self.amount).item()}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Blur or sharpen the image."""
        return F.adjust_sharpness(inpt, params["factor"])


def jittered(amount: float) -> v2.RandomOrder:
    """Brightness, contrast and sharpness vary by factors in [1 - amount, 1 + amount], in random order."""
    return v2.RandomOrder([v2.ColorJitter(brightness=amount), v2.ColorJitter(contrast=amount), RandomSharpness(amount)])
