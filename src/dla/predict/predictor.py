"""A network with all that is needed to use it on pictures: how they are prepared, and what its answers mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Num, UInt8
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as transforms

from dla.bands import Bands, Picture, read_bands
from dla.images import RGB, read_image
from dla.inference import fitting_window, predict_classes, predict_strips, reduction

TASKS = {"segmentation": "segment", "boundaries": "boundaries", "classification": "classify"}
"""What a network may be for, and the call of `Predictor` for it."""


@dataclass(frozen=True)
class Predictor:
    """A network in evaluation mode and what is needed to feed it and to draw its results.

    A call that is for another task than the network's, or of a picture that it does not take, raises a ValueError.

    Attributes:
        model: maps normalised images (b, c, h, w) to logits, (b, classes, h, w) or in classification (b, classes).
        task: "segmentation", "boundaries" or "classification"; "detection" in exports, whose maps nothing here decodes.
        classes: a name per class.
        colors: red, green and blue from 0 to 255 per class; none in classification.
        mean: per channel, of images from 0 to 1.
        std: per channel, of images from 0 to 1.
        resize: in classification, what the shorter side becomes, in pixels; None keeps the size.
        crop: in classification, the side of the square cut out of the middle; None takes all.
        bands: where images are no RGB pictures, the range of values of each of their bands.
        max_size: in dense prediction, what the longer side of larger pictures is reduced to before the network sees
            them; answers have the picture's own size.
    """

    model: nn.Module
    task: str
    classes: tuple[str, ...]
    colors: tuple[RGB, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int | None = None
    crop: int | None = None
    bands: Bands | None = None
    max_size: int | None = None

    def read(self, path: str | Path) -> Picture:
        """What a file holds, as the other calls take it.

        Raises:
            ImageError: see `dla.images.read_image` and `dla.bands.read_bands`.
        """
        return read_image(path) if self.bands is None else read_bands(path, self.bands)

    def segment(self, image: Picture, **options: Any) -> UInt8[np.ndarray, "h w"]:
        """Class index of each pixel of a picture; the keywords are those of `predict_strips`, as `views` takes them."""
        self._expect("segmentation")
        views = self.views(image, **options)
        return predict_classes(self.model, self.inputs(image), **views)[0].to("cpu", torch.uint8).numpy()

    def boundaries(self, image: Picture, **options: Any) -> Float32[np.ndarray, "h w"]:
        """Probability of a boundary at each pixel of a picture; keywords as for `segment`."""
        self._expect("boundaries")
        strips = predict_strips(self.model, self.inputs(image), **self.views(image, **options))
        return torch.cat([strip[0, 1].to("cpu", torch.float32, copy=True) for strip in strips]).numpy()

    def views(
        self, image: Picture, *, scales: Sequence[float] = (1.0,), window: int | None = None, **options: Any
    ) -> dict[str, Any]:
        """Keywords of `predict_strips` for a picture: scales of the size that images had in training, and a window.

        Args:
            image: the picture.
            scales: of that size.
            window: None for one only where the picture is too large to be seen whole.
            **options: the others, as they are.
        """
        size = transforms.get_size(image)
        scales = [scale * reduction(size, self.max_size) for scale in scales]
        return options | {"scales": scales, "window": fitting_window(size, scales, window)}

    @torch.inference_mode()
    def classify(self, image: Picture, *, flip: bool = False) -> Float32[np.ndarray, " classes"]:
        """Probability of each class for a picture, averaged with its mirror image where `flip` is set."""
        self._expect("classification")
        inputs = self.inputs(self.framed(image))
        views = torch.cat([inputs, inputs.flip(-1)]) if flip else inputs
        return self.model(views).float().softmax(dim=1).mean(dim=0).cpu().numpy()

    def _expect(self, task: str) -> None:
        if self.task != task:
            way = f": call .{TASKS[self.task]}" if self.task in TASKS else ""
            raise ValueError(f"this network is one of {self.task}, and this call for {task}{way}")

    def framed(self, image: Picture) -> Picture:
        """What the network is to see of a picture: in classification the resized centre, otherwise all of it."""
        pixels = self._pixels(image)  # whose resizing is the one that was measured; Pillow rounds otherwise
        if self.resize:
            pixels = transforms.resize(pixels, [self.resize], antialias=True)
        if self.crop:
            pixels = transforms.center_crop(pixels, [self.crop])
        return pixels if isinstance(image, Tensor) else transforms.to_pil_image(pixels)

    def inputs(self, image: Picture) -> Float[Tensor, "1 c h w"]:
        """A picture as the network takes it: normalised, on its device, in its precision."""
        own = next(self.model.parameters())
        pixels = self._pixels(image).to(own.device)
        pixels = transforms.to_dtype(pixels, torch.float32, scale=True) if self.bands is None else pixels / 255
        pixels = transforms.normalize(pixels, list(self.mean), list(self.std), inplace=True)  # a copy by now
        return pixels[None].to(own.dtype)  # (1, c, h, w)

    def _pixels(self, image: Picture) -> Num[Tensor, "c h w"]:
        if isinstance(image, Tensor) == (self.bands is None):
            expected = "an RGB picture of Pillow's" if self.bands is None else "the bands of an image, by `read`"
            raise ValueError(f"this network takes {expected}, not a {type(image).__name__}")
        return image if isinstance(image, Tensor) else transforms.pil_to_tensor(image)
