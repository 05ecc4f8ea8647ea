"""Whose layout a state dict has, and where each of its tensors belongs in a model."""

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

from torch import nn

from dla.weights import centernet, mmdet3d, official, vis4d
from dla.weights.backbone import Within, timm_classifier
from dla.weights.heads import PREFIXES

AROUND = ("decoder.", *PREFIXES)  # what a network with a decoder holds around its backbone


class Layout(NamedTuple):
    """What weights of one layout have to do with one model.

    Attributes:
        name: whose layout it is.
        part: prefix of the model's part that such weights fill: its backbone for a classifier's, "" for the whole.
        authors: from the weights' keys to the authors' own, which tell slices and shapes; empty for our layout.
        keys: from the weights' keys to the model's. A key that is neither here nor unused is unknown.
        unused: the weights' keys of what nothing in the model reads.
        head: the weights' keys of the layers that depend on the classes.
        heads: what the model's names of its heads begin with.
        nodes: the model's names of nodes within that part which the weights have not.
    """

    name: str
    part: str
    authors: dict[str, str]
    keys: dict[str, str]
    unused: list[str]
    head: list[str]
    heads: tuple[str, ...] = PREFIXES
    nodes: Collection[str] = ()


def find_layout(model: nn.Module, keys: Collection[str]) -> Layout:
    """Recognise the layout of weights by their keys, and relate it to `model`."""
    name, authors = _authors_names(keys)
    if not authors or _holds_timms(model):
        within = None if _trunk_prefix(model.state_dict()) is not None else timm_classifier(model, keys)
        return _backbone(within, keys) if within else _ours(model, keys)
    if not any(key.startswith("base.") for key in authors.values()):
        return _trunk(model, name, authors)
    return (_network if hasattr(model, "decoder") else _trunk_of_network)(model, name, authors)


def _holds_timms(model: nn.Module) -> bool:
    """Whether a DLA of timm's is the model, or in it, which has these names itself."""
    return any(key.endswith("base_layer.0.weight") for key in model.state_dict())


def network_names(model: nn.Module) -> dict[str, str]:
    """The authors' name of each module of a dense predictor, or CenterNet's where the authors have none."""
    return official.base_names(model) | official.decoder_names(model) | centernet.decoder_names(model)


def further_stems(model: nn.Module) -> list[str]:
    """Names of what a network of ours for several images holds for all but the first; none for other networks."""
    if len(getattr(official.body(model), "image_channels", ())) < 2:
        return []
    state = model.state_dict()
    return [key for key in state if key.startswith(f"{_trunk_prefix(state)}beside.")]


def _authors_names(keys: Collection[str]) -> tuple[str, dict[str, str]]:
    """Whose layout these keys are in, and the authors' key for each; none for our own layout."""
    if mmdet3d.is_mmdet3d(keys):
        return "mmdetection3d", mmdet3d.authors_names(keys)
    if vis4d.is_vis4d(keys):
        return "vis4d", vis4d.authors_names(keys)
    same = {key: key for key in keys}
    if "base.base_layer.0.weight" in same:
        return "the authors' segmentation" if "fc.0.weight" in same else "CenterNet", same
    if "base_layer.0.weight" in same:
        doubled = any(key.replace("project.", "tree1.project.") in same for key in same if "project." in key)
        return "the authors' classifiers" if doubled else "timm", same
    return "ours", {}


def _network(model: nn.Module, name: str, authors: dict[str, str]) -> Layout:
    ours = {theirs: module for module, theirs in network_names(model).items()}
    base = [key[5:] for key in authors.values() if key.startswith("base.")]
    unread = {f"base.{key}" for key in official.unused(model, base)}
    frozen = "up.weight" if hasattr(model, "head") else ""
    unused = [key for key, theirs in authors.items() if theirs in unread or theirs == frozen]
    head = [key for key, theirs in authors.items() if not theirs.startswith(("base.", "dla_up.", "ida_up."))]
    return Layout(name, "", authors, _placed(authors, ours), unused, head)


def _trunk_of_network(model: nn.Module, name: str, authors: dict[str, str]) -> Layout:
    """For a model without a decoder: what a dense predictor or a detector stands on."""
    base = {key: theirs[5:] for key, theirs in authors.items() if theirs.startswith("base.")}
    layout = _trunk(model, name, base)
    return layout._replace(unused=[*layout.unused, *(key for key in authors if key not in base)])


def _trunk(model: nn.Module, name: str, authors: dict[str, str]) -> Layout:
    part = _trunk_prefix(model.state_dict()) or ""
    ours = {theirs: f"{part}{module}" for module, theirs in official.trunk_names(official.body(model)).items()}
    unread = official.unused(model, authors.values())
    unused = [key for key, theirs in authors.items() if theirs in unread]
    head = [key for key, theirs in authors.items() if theirs.startswith("fc.")]
    return Layout(name, part, authors, _placed(authors, ours), unused, head)


def _backbone(within: Within, keys: Collection[str]) -> Layout:
    unused = [key for key in keys if key in within.lost]
    placed = {key: within.prefix + key for key in keys if key not in within.lost}
    head = [key for key, ours in placed.items() if ours.startswith(within.heads)]
    return Layout("timm", within.prefix, {}, placed, unused, head, within.heads, within.nodes)


def _ours(model: nn.Module, keys: Collection[str]) -> Layout:
    """Each tensor by its own name; or a classifier alone, where weights and model hold it in different places."""
    there, part = _trunk_prefix(keys), _trunk_prefix(model.state_dict())
    head = [key for key in keys if key.startswith(PREFIXES)]
    if there is None or part is None or there == part != "":
        return Layout("ours", "", {}, {key: key for key in keys}, [], head)
    placed = {key: part + key.removeprefix(there) for key in keys if key.startswith(there)}
    built = {_part(key.removeprefix(part)) for key in model.state_dict() if key.startswith(part)}
    unused = [key for key in placed if _part(key.removeprefix(there)) not in built]
    unused += [key for key in keys if key not in placed and key.startswith(AROUND)]
    return Layout("ours", part, {}, placed, unused, head)


def _part(key: str) -> str:
    """The part of a classifier that a model can lack and that `key` is of: "head.", "stages.5.", or ""."""
    found = re.match(r"head\.|stages\.\d+\.", key)
    return found[0] if found else ""


def _trunk_prefix(keys: Collection[str]) -> str | None:
    """What stands before a classifier's names: "" in the classifier itself; None where there is none."""
    return next((part for part in ("backbone.body.", "body.", "") if f"{part}stem.0.0.weight" in keys), None)


def _placed(authors: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    """By each of the weights' keys the model's, for the modules in `ours`."""
    split = {key: theirs.rpartition(".") for key, theirs in authors.items()}
    return {key: f"{ours[module]}.{leaf}" for key, (module, _, leaf) in split.items() if module in ours}
