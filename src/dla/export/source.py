"""What `dla export` takes: packaged weights, a checkpoint, or the name of an untrained network."""

import json
from pathlib import Path

import dla
from dla.models import DensePredictor
from dla.models.heads import Classifier
from dla.names import meant
from dla.predictor import Predictor, load_predictor
from dla.weights import packaged
from dla.weights.hub import imagenet_cfg


def load_source(name: str) -> Predictor:
    """The network of packaged weights or of a checkpoint; or, by a name of `dla.create_model`, an untrained one.

    A file wins over the name of an untrained network.

    Raises:
        CheckpointError: see `load_predictor`.
        ValueError: there is neither such a name nor such a file.
    """
    named = name in dla.list_models() or ("+" in name and not name.endswith(".ckpt"))
    untrained = named and name not in packaged() and not Path(name).is_file()
    if not untrained:
        _check_name(name)
        return load_predictor(name)
    model = dla.create_model(name).eval()
    cfg = imagenet_cfg()
    kinds = {"classification": Classifier, "segmentation": DensePredictor}
    task = next((task for task, kind in kinds.items() if isinstance(model, kind)), "detection")
    return Predictor(model, task, (), (), tuple(cfg["mean"]), tuple(cfg["std"]))


def _check_name(name: str) -> None:
    names = [*dla.list_models(), *dla.list_models(pretrained=True)]
    if name not in names and not Path(name).exists():
        raise ValueError(
            f"{name} is neither a checkpoint file nor a network's name, which `dla models` lists{meant(name, names)}"
        )


def metadata(name: str, predictor: Predictor, size: tuple[int, int]) -> dict[str, str]:
    """What one must know to feed the network and to read its answers, each fact as JSON."""
    facts = {
        "model": name,
        "task": predictor.task,
        "classes": predictor.classes,
        "mean": predictor.mean,
        "std": predictor.std,
        "resize": predictor.resize,
        "crop": predictor.crop,
        "size": size,
    }
    return {f"dla.{key}": json.dumps(fact) for key, fact in facts.items()}
