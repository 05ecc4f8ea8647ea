"""Weights by name, with what is needed to use them: float16 safetensors files in the package, or files on the hub."""

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from dla.names import parse
from dla.weights.hub import PREFIX, imagenet_cfg

FOLDER = Path(__file__).with_name("packaged")


class Packaged(NamedTuple):
    """A file or hub repository of weights, and the model's `pretrained_cfg`: classes, mean and std among others."""

    path: Path | str
    cfg: dict[str, Any]


@cache
def packaged(folder: Path = FOLDER) -> dict[str, Packaged]:
    """The weights in `folder` by name, such as "dla46_cup.camvid"."""
    from safetensors import safe_open

    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            found[path.stem] = Packaged(path, json.loads(file.metadata()["pretrained_cfg"]))
    return found


def completed_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """`options`, with those that the weights of this name were trained with, such as stem_stride, where it says none.

    None stands for an option that is not given, as for `create_model`. Of a name such as "dla46_c.cifar10+ida" they are
    options of its backbone.
    """
    named = parse(name)
    given = {key: value for key, value in options.items() if value is not None}
    if named.structure and not named.whole:
        within = completed_options(named.backbone, given.get("backbone_options") or {})
        return {**given, "backbone_options": within} if within else given
    return {**(packaged()[name].cfg.get("options", {}) if name in packaged() else {}), **given}


def on_hub(repository: str) -> Packaged:
    """The authors' ImageNet weights of one network, in a repository such as "timm/dla34.in1k"."""
    return Packaged(f"{PREFIX}{repository}", {**imagenet_cfg(), "hf_hub_id": repository})


def pack(model: nn.Module, cfg: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write `model`'s weights to `path` as a packaged file; `cfg` must hold num_classes and plain values alone.

    Convolutions are stored in float16, norms, whose statistics can exceed its range, in float32.
    """
    from safetensors.torch import save_file

    from dla.files import atomic_write

    state = {key: (x.half() if x.ndim > 1 else x).contiguous() for key, x in model.state_dict().items()}
    with atomic_write(Path(path)) as partial:
        save_file(state, partial, metadata={"pretrained_cfg": json.dumps(cfg)})
