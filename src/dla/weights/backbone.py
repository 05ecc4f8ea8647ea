"""A timm classifier, or one whose maps a network fuses: where it is in the network, and what is different there."""

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import torch
from torch import nn

from dla.weights.heads import PREFIXES


class Within(NamedTuple):
    """Where a classifier is in a network.

    Attributes:
        prefix: what stands before the classifier's names in the network.
        lost: the classifier's names that the network lacks, because its maps were fused or it was built without a head.
        heads: what the network's names of the layers that depend on the classes begin with.
        nodes: the network's names of the nodes of `dla.rewire`, where the weights are of the plain classifier.
    """

    prefix: str
    lost: frozenset[str]
    heads: tuple[str, ...]
    nodes: frozenset[str]


def timm_classifier(model: nn.Module, keys: Collection[str]) -> Within | None:
    """The classifier within `model` that these keys are of; None where there is none."""
    import timm

    for name, module in model.named_modules():
        cfg: Any = getattr(module, "pretrained_cfg", None) or {}
        of_timm = timm.is_model(cfg.get("architecture", ""))  # one of ours may name itself
        if of_timm and not module.state_dict().keys().isdisjoint(keys):
            return _within(name, module, cfg, keys)
    return None


def _within(name: str, module: nn.Module, cfg: Any, keys: Collection[str]) -> Within:
    prefix, nodes = f"{name}." if name else "", _nodes(module)
    lost = frozenset(_all_names(cfg["architecture"]) - module.state_dict().keys())
    lacking = nodes if set(nodes).isdisjoint(keys) else []
    return Within(prefix, lost, PREFIXES if name else tuple(_heads(cfg)), frozenset(prefix + key for key in lacking))


def _heads(cfg: Any) -> Iterator[str]:
    """timm names one layer, or several, or none."""
    layers = cfg.get("classifier") or ()
    for layer in (layers,) if isinstance(layers, str) else layers:
        yield f"{layer}."


def _nodes(module: nn.Module) -> list[str]:
    """Names of the tensors that rewiring added."""
    rewiring: Any = getattr(module, "rewiring", None)
    nodes = tuple(f"{stage}.nodes." for stage in rewiring.node_widths) if rewiring else ()
    return [key for key in module.state_dict() if key.startswith(nodes)]


def _all_names(architecture: str) -> set[str]:
    """The names of a timm model's tensors, which take no memory here."""
    import timm

    with torch.device("meta"):
        return set(timm.create_model(architecture).state_dict())
