"""A network as `dla fit` left it: built as its checkpoint describes it, with the weights in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from dla.models import create_model
from dla.weights import WeightsError, load_weights
from dla.weights.checkpoint import CheckpointError, read_checkpoint

MAX_CLASSES = 256  # what masks of 8 bits can tell apart


def load_trained(path: Path) -> tuple[nn.Module, Mapping[str, Any]]:
    """The network of a checkpoint, and what the checkpoint says of it: model, options, task, classes, mean and others.

    Raises:
        CheckpointError: the file is no whole, safe checkpoint, or holds no network that this library can build.
    """
    checkpoint = read_checkpoint(path)
    lacking = [key for key in ("dla", "state_dict") if not isinstance(checkpoint.get(key), Mapping)]
    if lacking:
        names = " and ".join(f'"{key}"' for key in lacking)
        raise CheckpointError(
            f"{path} lacks {names} of a run's checkpoint: give one written by `dla fit`; weights of another program "
            "are loaded by dla.load_weights, and exported by `dla export NETWORK --weights FILE`"
        )
    description = checkpoint["dla"]
    model = _build(path, description)
    try:
        load_weights(model, checkpoint)
    except WeightsError as error:
        raise CheckpointError(f"{path} does not fit the {description['model']} it names: {error}") from error
    return model, description


def _build(path: Path, description: Mapping[str, Any]) -> nn.Module:
    """The network that a checkpoint describes, untrained."""
    name, num_classes = description.get("model"), description.get("num_classes")
    if type(num_classes) is not int or num_classes < 1:
        raise CheckpointError(f"{path} has num_classes {num_classes!r}: expected a whole number of at least 1")
    if num_classes > MAX_CLASSES and description.get("task") != "classification":
        raise CheckpointError(f"{path} has num_classes {num_classes}: masks of 8 bits take 1 to {MAX_CLASSES}")
    try:
        return create_model(str(name), num_classes=num_classes, **dict(description.get("options") or {}))
    except (ValueError, TypeError) as error:
        raise CheckpointError(
            f"{path} is of the model {name!r}, which this version does not know or cannot build: {error}"
        ) from error
