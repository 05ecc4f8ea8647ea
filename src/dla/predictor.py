"""A segmentation network ready to use, from packaged weights or from a checkpoint of a training run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import nn
from torchvision.transforms.v2 import functional as transforms

import dla
from dla.checkpoint import CheckpointError, read_checkpoint
from dla.images import RGB
from dla.inference import predict_probabilities
from dla.weights import WeightsError, network_weights

MAX_CLASSES = 256  # what 8 bits can tell apart


@dataclass(frozen=True)
class Predictor:
    """A network in evaluation mode and what is needed to feed it and to draw its results.

    Attributes:
        model: maps normalised images (b, 3, h, w) to logits (b, classes, h, w).
        classes: a name per class.
        colors: red, green and blue from 0 to 255 per class.
        mean: per channel, of images from 0 to 1.
        std: per channel, of images from 0 to 1.
    """

    model: nn.Module
    classes: tuple[str, ...]
    colors: tuple[RGB, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def segment(
        self, image: Image.Image, *, scales: Sequence[float] = (1.0,), flip: bool = False, window: int | None = None
    ) -> UInt8[np.ndarray, "h w"]:
        """Class index of each pixel of an RGB picture; the arguments are those of `predict_probabilities`."""
        device = next(self.model.parameters()).device
        pixels = transforms.to_dtype(transforms.pil_to_tensor(image).to(device), torch.float32, scale=True)
        inputs = transforms.normalize(pixels, list(self.mean), list(self.std))[None]  # (1, 3, h, w)
        probabilities = predict_probabilities(self.model, inputs, scales=scales, flip=flip, window=window)
        return probabilities[0].argmax(dim=0).to(torch.uint8).cpu().numpy()


def load_predictor(name_or_path: str | Path, device: torch.device | str = "cpu") -> Predictor:
    """Load packaged weights by their name (`dla.list_models(pretrained=True)`) or a checkpoint file by its path.

    A name wins over a file of the same name; write `./name` for the file.

    Raises:
        CheckpointError: the file is no whole, safe checkpoint, or holds no network that this library can build.
        ValueError: there is neither such a name nor such a file, or the named network does not segment.
    """
    packaged = dla.list_models(pretrained=True)
    if str(name_or_path) in packaged:
        model = dla.create_model(str(name_or_path), pretrained=True)
        about: Any = model.pretrained_cfg  # a dictionary, in every packaged model
        return _predictor(model, about, device, source=f"the model {name_or_path}")
    if not Path(name_or_path).exists():
        raise ValueError(
            f"{name_or_path} is neither a checkpoint file nor a model with packaged weights: "
            f"check the path, or use one of {', '.join(packaged) or '(none in this installation)'}"
        )
    return _load_checkpoint(Path(name_or_path), device)


def _load_checkpoint(path: Path, device: torch.device | str) -> Predictor:
    checkpoint = read_checkpoint(path)
    description = checkpoint.get("dla")
    if not isinstance(description, Mapping) or not isinstance(checkpoint.get("state_dict"), Mapping):
        raise CheckpointError(
            f'{path} lacks the entries "dla" and "state_dict" that a segmentation run writes: '
            "give a checkpoint written by `dla fit`"
        )
    name, num_classes = description.get("model"), description.get("num_classes")
    if name not in dla.list_models():
        raise CheckpointError(f"{path} is of the model {name!r}, which this version does not know: see `dla models`")
    if type(num_classes) is not int or not 1 <= num_classes <= MAX_CLASSES:
        raise CheckpointError(f"{path} has num_classes {num_classes!r}: masks of 8 bits take 1 to {MAX_CLASSES}")
    model = dla.create_model(name, num_classes=num_classes)
    try:
        dla.load_weights(model, network_weights(checkpoint))
    except WeightsError as error:
        raise CheckpointError(f"{path} does not fit the {name} it names: {error}") from error
    return _predictor(model, description, device, source=str(path))


def _predictor(
    model: nn.Module, description: Mapping[str, Any], device: torch.device | str, *, source: str
) -> Predictor:
    """Check what is said about the model, and put both together."""
    try:
        classes = tuple(str(name) for name in description["classes"])
        colors = tuple(_rgb(color) for color in description["colors"])
        mean, std = _three_floats(description["mean"]), _three_floats(description["std"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f'{source} does not say how to segment with it ({error!r}): "classes", "colors" (3 integers from 0 to 255 '
            'each), "mean" and "std" (3 numbers each) are needed; give a model or checkpoint of a segmentation task'
        ) from error
    num_classes = description.get("num_classes", len(classes))
    if not len(classes) == len(colors) == num_classes or min(std) <= 0:
        raise CheckpointError(
            f"{source} contradicts itself: {num_classes} outputs, {len(classes)} class names, {len(colors)} colours, "
            f"std {std}; the first three must agree and std be positive: write it again"
        )
    return Predictor(model.to(device).eval(), classes, colors, mean, std)


def _rgb(values: Any) -> RGB:
    red, green, blue = (int(value) for value in values)
    if not all(0 <= value <= 255 for value in (red, green, blue)):
        raise ValueError(f"{[red, green, blue]} is not a colour")
    return red, green, blue


def _three_floats(values: Any) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third
