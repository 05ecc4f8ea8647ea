"""A network ready to use on pictures, from packaged weights or from a checkpoint of a training run."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as transforms

import dla
from dla.checkpoint import CheckpointError, read_checkpoint
from dla.images import RGB
from dla.inference import predict_probabilities
from dla.weights import WeightsError

MAX_CLASSES = 256  # what 8 bits can tell apart
TASKS = {"segmentation": "segment", "boundaries": "boundaries", "classification": "classify"}
"""What a network may be for, and the call of `Predictor` for it."""


@dataclass(frozen=True)
class Predictor:
    """A network in evaluation mode and what is needed to feed it and to draw its results.

    A call that is for another task than the network's raises a ValueError.

    Attributes:
        model: maps normalised images (b, 3, h, w) to logits, (b, classes, h, w) or in classification (b, classes).
        task: "segmentation", "boundaries" or "classification"; "detection" in exports, whose maps nothing here decodes.
        classes: a name per class.
        colors: red, green and blue from 0 to 255 per class; none in classification.
        mean: per channel, of images from 0 to 1.
        std: per channel, of images from 0 to 1.
        resize: in classification, what the shorter side becomes, in pixels; None keeps the size.
        crop: in classification, the side of the square cut out of the middle; None takes all.
    """

    model: nn.Module
    task: str
    classes: tuple[str, ...]
    colors: tuple[RGB, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: int | None = None
    crop: int | None = None

    def segment(self, image: Image.Image, **view: Any) -> UInt8[np.ndarray, "h w"]:
        """Class index of each pixel of an RGB picture; the keywords are those of `predict_probabilities`."""
        self._expect("segmentation")
        probabilities = predict_probabilities(self.model, self.inputs(image), **view)
        return probabilities[0].argmax(dim=0).to(torch.uint8).cpu().numpy()

    def boundaries(self, image: Image.Image, **view: Any) -> Float32[np.ndarray, "h w"]:
        """Probability of a boundary at each pixel of an RGB picture; keywords as for `segment`."""
        self._expect("boundaries")
        return predict_probabilities(self.model, self.inputs(image), **view)[0, 1].float().cpu().numpy()

    @torch.inference_mode()
    def classify(self, image: Image.Image, *, flip: bool = False) -> Float32[np.ndarray, " classes"]:
        """Probability of each class for an RGB picture, averaged with its mirror image where `flip` is set."""
        self._expect("classification")
        inputs = self.inputs(self.view(image))
        views = torch.cat([inputs, inputs.flip(-1)]) if flip else inputs
        return self.model(views).float().softmax(dim=1).mean(dim=0).cpu().numpy()

    def _expect(self, task: str) -> None:
        if self.task != task:
            way = f": call .{TASKS[self.task]}" if self.task in TASKS else ""
            raise ValueError(f"this network is one of {self.task}, and this call for {task}{way}")

    def view(self, image: Image.Image) -> Image.Image:
        """What the network is to see of a picture: in classification the resized centre, otherwise all of it."""
        pixels = transforms.pil_to_tensor(image)  # whose resizing is the one that was measured; Pillow rounds otherwise
        if self.resize:
            pixels = transforms.resize(pixels, [self.resize], antialias=True)
        return transforms.to_pil_image(transforms.center_crop(pixels, [self.crop]) if self.crop else pixels)

    def inputs(self, image: Image.Image) -> Float[Tensor, "1 3 h w"]:
        """A picture as the network takes it: normalised, on its device, in its precision."""
        own = next(self.model.parameters())
        pixels = transforms.to_dtype(transforms.pil_to_tensor(image).to(own.device), torch.float32, scale=True)
        return transforms.normalize(pixels, list(self.mean), list(self.std))[None].to(own.dtype)  # (1, 3, h, w)


def load_predictor(name_or_path: str | Path, device: torch.device | str = "cpu") -> Predictor:
    """Load packaged weights by their name (`dla.list_models(pretrained=True)`) or a checkpoint file by its path.

    A name wins over a file of the same name; write `./name` for the file.

    Raises:
        CheckpointError: the file is no whole, safe checkpoint, or holds no network that this library can build.
        ValueError: there is neither such a name nor such a file, or the named weights do not say how to use them.
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
    lacking = [key for key in ("dla", "state_dict") if not isinstance(checkpoint.get(key), Mapping)]
    if lacking:
        names = " and ".join(f'"{key}"' for key in lacking)
        raise CheckpointError(
            f"{path} lacks {names} of a run's checkpoint: give one written by `dla fit`; weights of another program "
            "are loaded by dla.load_weights, and the network with them is written by dla.export.export"
        )
    description = checkpoint["dla"]
    model, name = _build(path, description), description.get("model")
    try:
        dla.load_weights(model, checkpoint)
    except WeightsError as error:
        raise CheckpointError(f"{path} does not fit the {name} it names: {error}") from error
    return _predictor(model, description, device, source=str(path))


def _build(path: Path, description: Mapping[str, Any]) -> nn.Module:
    """The network that a checkpoint describes, untrained."""
    name, num_classes = description.get("model"), description.get("num_classes")
    most = sys.maxsize if description.get("task") == "classification" else MAX_CLASSES
    if type(num_classes) is not int or not 1 <= num_classes <= most:
        raise CheckpointError(f"{path} has num_classes {num_classes!r}: masks of 8 bits take 1 to {MAX_CLASSES}")
    try:
        return dla.create_model(str(name), num_classes=num_classes, **dict(description.get("options") or {}))
    except (ValueError, TypeError) as error:
        raise CheckpointError(
            f"{path} is of the model {name!r}, which this version does not know or cannot build: {error}"
        ) from error


def _predictor(
    model: nn.Module, description: Mapping[str, Any], device: torch.device | str, *, source: str
) -> Predictor:
    """Check what is said about the model, and put both together."""
    task = description.get("task", "segmentation")
    try:
        classes = tuple(str(name) for name in description["classes"])
        colors = tuple(_rgb(color) for color in description["colors"]) if task != "classification" else ()
        mean, std = _three_floats(description["mean"]), _three_floats(description["std"])
        resize, crop = (int(description.get(key) or 0) or None for key in ("resize", "crop"))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f'{source} does not say how to use it ({error!r}): "classes", "colors" (3 integers from 0 to 255 each; not '
            'in classification), "mean" and "std" (3 numbers each) are needed; give a model or checkpoint of a task'
        ) from error
    num_classes = description.get("num_classes", len(classes))
    coloured = {num_classes} if task == "segmentation" else {num_classes, 0}
    fits = len(classes) == num_classes and len(colors) in coloured and (task != "boundaries" or num_classes == 2)
    if task not in TASKS or not fits or min(std) <= 0:
        raise CheckpointError(
            f"{source} contradicts itself: {task}, {num_classes} outputs, {len(classes)} class names, {len(colors)} "
            f"colours, std {std}; the task must be one of {', '.join(TASKS)}, the next three agree (of boundaries "
            "2, of classification no colours), and std be positive: write it again"
        )
    return Predictor(model.to(device).eval(), task, classes, colors, mean, std, resize, crop)


def _rgb(values: Any) -> RGB:
    red, green, blue = (int(value) for value in values)
    if not all(0 <= value <= 255 for value in (red, green, blue)):
        raise ValueError(f"{[red, green, blue]} is not a colour")
    return red, green, blue


def _three_floats(values: Any) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third
