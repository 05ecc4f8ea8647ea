"""What `dla export` takes: packaged weights, a checkpoint, or a network by name, alone or with weights of others."""

import json
import sys
from pathlib import Path
from typing import Any

from torch import nn

import dla
from dla.models import DensePredictor
from dla.models.centernet import CenterNet
from dla.models.peers import Torchvision
from dla.names import meant
from dla.predict import Predictor, load_predictor
from dla.predict.load import described, load_hub
from dla.weights import packaged
from dla.weights.hub import imagenet_cfg, is_hub_name, is_saved
from dla.weights.source import read_source


def load_source(name: str, weights: str | None = None) -> Predictor:
    """The network of packaged weights, of a checkpoint or of a hub's folder; or by a name of `dla.create_model`.

    By a name alone it is untrained. A file wins over such a name.

    Args:
        name: what `load_predictor` takes, or a network's name.
        weights: whatever `dla.load_weights` takes, for a network's name; the report goes to standard error.

    Raises:
        CheckpointError: see `load_predictor`.
        WeightsError: see `dla.load_model`.
        ValueError: there is neither such a name nor such a file, or `weights` is a checkpoint.
    """
    if weights is not None:
        return _with_weights(name, weights)
    named = name in dla.list_models() or ("+" in name and not name.endswith(".ckpt"))
    if named and name not in packaged() and not Path(name).exists():
        _warn_of_random(name)
        return _bare(dla.create_model(name).eval())
    _check_name(name)
    if is_saved(name) and name not in packaged():
        return _of_hub(name)
    return load_predictor(name)


def _with_weights(name: str, weights: str) -> Predictor:
    given = read_source(weights)
    if "dla" in given:  # which says what would else be guessed: classes, mean, bands
        raise ValueError(
            f"{weights} is a checkpoint of dla fit, which knows its network: give it in the place of {name}"
        )
    model, report = dla.load_model(name, weights)
    print(report, file=sys.stderr)
    return _bare(model)


def _warn_of_random(name: str) -> None:
    told = [pretrained for pretrained in dla.list_models(pretrained=True) if pretrained.startswith(f"{name}.")]
    better = " or ".join([*told, "a checkpoint"])
    print(f"warning: {name} names a network alone, so its weights are random: give {better}", file=sys.stderr)


def _of_hub(name: str) -> Predictor:
    """What `HubModel` saved, which need not say what `dla predict` would have to know, and may detect."""
    model = load_hub(name)
    if isinstance(model, CenterNet) or "classes" not in model.pretrained_cfg:
        return _bare(model)
    return described(model, model.pretrained_cfg, "cpu", source=name)


def _bare(model: nn.Module) -> Predictor:
    """A network of which little is known, with ImageNet's mean and deviation unless it says otherwise."""
    cfg = getattr(model, "pretrained_cfg", None) or {}
    mean, std = (tuple(cfg.get(key) or imagenet_cfg()[key]) for key in ("mean", "std"))
    return Predictor(model, _task(model), tuple(cfg.get("classes", ())), (), mean, std)


def _task(model: nn.Module) -> str:
    """What a network is for; the classifiers of other libraries have no class in common."""
    if isinstance(model, CenterNet):
        return "detection"
    segments = isinstance(model, DensePredictor) or (isinstance(model, Torchvision) and model.segments)
    return "segmentation" if segments else "classification"


def _check_name(name: str) -> None:
    names = [*dla.list_models(), *dla.list_models(pretrained=True)]
    if name not in names and not Path(name).exists() and not is_hub_name(name):
        raise ValueError(
            f"{name} is neither a checkpoint file nor a network's name, which `dla models` lists{meant(name, names)}"
        )


def metadata(name: str, predictor: Predictor, size: tuple[int, int]) -> dict[str, str]:
    """What one must know to feed the network and to read its answers, each fact as JSON."""
    facts: dict[str, Any] = {
        "model": name,
        "task": predictor.task,
        "classes": predictor.classes,
        "mean": predictor.mean,
        "std": predictor.std,
        "resize": predictor.resize,
        "crop": predictor.crop,
        "size": size,
    }
    if predictor.bands is not None:
        facts["bands"] = predictor.bands
    if predictor.max_size is not None:
        facts["max_size"] = predictor.max_size
    if isinstance(predictor.model, CenterNet):  # ncnn's outputs have numbers alone
        facts["outputs"] = tuple(predictor.model.heads)
    return {f"dla.{key}": json.dumps(fact) for key, fact in facts.items()}
