"""A timm classifier whose maps a network fuses: where it is, and which of its weights nothing there reads."""

from collections.abc import Collection
from typing import Any, NamedTuple

import torch
from torch import nn


class Within(NamedTuple):
    """What stands before the classifier's names in a network, and which names it lost when its maps were fused."""

    prefix: str
    lost: frozenset[str]


def timm_classifier(model: nn.Module, keys: Collection[str]) -> Within | None:
    """The classifier within `model` that these keys are of; None where there is none."""
    for name, module in model.named_modules():
        cfg: Any = getattr(module, "pretrained_cfg", None) or {}
        built = module.state_dict().keys()
        if name and "architecture" in cfg and not built.isdisjoint(keys):
            return Within(f"{name}.", frozenset(_all_names(cfg["architecture"]) - built))
    return None


def _all_names(architecture: str) -> set[str]:
    """The names of a timm model's tensors, which take no memory here."""
    import timm

    with torch.device("meta"):
        return set(timm.create_model(architecture).state_dict())
