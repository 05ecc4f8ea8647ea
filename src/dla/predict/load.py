"""A predictor by name: of packaged weights, of a run's checkpoint, or of a folder or repository of the hub."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dla.bands import as_bands
from dla.images import RGB
from dla.models import create_model, list_models
from dla.models.from_run import load_trained
from dla.models.heads import Classifier
from dla.predict.predictor import TASKS, Predictor
from dla.weights.checkpoint import CheckpointError
from dla.weights.hub import PREFIX, download, is_saved


def load_predictor(name_or_path: str | Path, device: torch.device | str = "cpu") -> Predictor:
    """Load the network that a name or a path stands for, with what is needed to use it.

    That is the name of packaged weights (`dla.list_models(pretrained=True)`), the path of a checkpoint of `dla fit`, or
    what `dla.hub.HubModel` has saved: a folder, or a repository of the Hugging Face hub such as "me/cracks". A packaged
    name wins over a file of the same name, for which one writes `./name`.

    Raises:
        CheckpointError: the file is no whole, safe checkpoint, or holds no network that this library can build; or what
            was found does not say how to use it.
        ValueError: there is nothing of that name.
        WeightsError: a repository cannot be reached, or a folder's weights do not fit its network.
    """
    name, path = str(name_or_path), Path(name_or_path)
    if name in list_models(pretrained=True):
        model: Any = create_model(name, pretrained=True)
        return described(model, model.pretrained_cfg, device, source=f"the model {name}")
    if is_saved(name):
        model = load_hub(name)
        return described(model, model.pretrained_cfg, device, source=name)
    if path.exists():  # also of a folder, to say what is in it
        return described(*load_trained(path), device, source=name)
    raise ValueError(
        f"{name} is neither a checkpoint file, nor a folder of dla.hub, nor a model with packaged weights: check the "
        f"path, or use one of {', '.join(list_models(pretrained=True))}"
    )


def load_hub(name: str) -> Any:
    """The network that `HubModel` has saved in a folder, or in a repository of the hub; `pretrained_cfg` has its facts.

    Raises:
        WeightsError: a repository cannot be reached, or the weights do not fit the network.
    """
    from dla.hub import HubModel

    repository, revision = name, ""
    if not Path(name).is_dir():
        download(name)  # which says what to do where it is out of reach; the next line then finds it in the cache
        repository, _, revision = name.removeprefix(PREFIX).partition("@")
    return HubModel.from_pretrained(repository, revision=revision or None).network


def described(
    model: nn.Module, description: Mapping[str, Any], device: torch.device | str, *, source: str
) -> Predictor:
    """A network and what is said about it, in one, once both are found to agree.

    Raises:
        CheckpointError: what is needed is missing, or contradicts itself; the message names `source`.
    """
    task = description.get("task", "classification" if isinstance(model, Classifier) else "segmentation")
    try:
        classes = tuple(str(name) for name in description["classes"])
        colors = tuple(_rgb(color) for color in description["colors"]) if task != "classification" else ()
        bands = as_bands(description.get("bands"))
        mean, std = (_floats(description[key], len(bands or "RGB")) for key in ("mean", "std"))
        resize, crop, max_size = (int(description.get(key) or 0) or None for key in ("resize", "crop", "max_size"))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f'{source} does not say how to use it ({error!r}): "classes", "colors" (3 integers from 0 to 255 each; not '
            'in classification), "mean" and "std" (3 numbers each, or one for each of "bands") are needed; give a '
            "model or checkpoint of a task"
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
    model = model.to(device).eval()
    if torch.device(device).type == "cpu":  # where convolutions are faster so
        model = model.to(memory_format=torch.channels_last)
    return Predictor(model, task, classes, colors, mean, std, resize, crop, bands, max_size)


def _rgb(values: Any) -> RGB:
    red, green, blue = (int(value) for value in values)
    if not all(0 <= value <= 255 for value in (red, green, blue)):
        raise ValueError(f"{[red, green, blue]} is not a colour")
    return red, green, blue


def _floats(values: Any, count: int) -> tuple[float, ...]:
    floats = tuple(float(value) for value in values)
    if len(floats) != count:
        raise ValueError(f"{list(floats)} is not {count} numbers")
    return floats
