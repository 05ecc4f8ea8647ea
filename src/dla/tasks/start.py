"""What a run starts with: a network, weights by its name, from a file or of the hub, and images as they expect them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from dla.models import create_model
from dla.names import parse
from dla.tasks.normalization import Normalization, of_network, stated
from dla.weights import load_weights
from dla.weights.source import read_source


@dataclass(frozen=True)
class Start:
    """A network before it is trained.

    Attributes:
        model: the network, a module whose calls are its own.
        origin: which weights it has, and what of them it left or lacked; empty where all are new.
        normalization: of images, as these weights expect; None where they do not say.
    """

    model: Any
    origin: str
    normalization: Normalization | None


def start(
    network: str, *, num_classes: int, options: Mapping[str, Any], weights: str | None = None, new_head: bool = False
) -> Start:
    """Build a network, with the weights that its name says or else with new ones, and load `weights` into it.

    Args:
        network: as `create_model` takes it, with or without a tag.
        num_classes: of its head.
        options: of `create_model`.
        weights: file, or name of the hub.
        new_head: do not take the head from `weights`.

    Raises:
        ValueError: there is no such network, or no such weights, or they do not fit.
    """
    tagged = parse(network).weighted
    model = create_model(network, pretrained=tagged, num_classes=num_classes, **options)
    if weights:
        source = read_source(weights)
        report = load_weights(model, source, new_head=new_head)
        foreign = report.untouched or report.layout == "timm"
        expected = stated(source.get("dla", {})) or (of_network(model) if foreign else None)
        return Start(model, f"{weights}: {report}", expected)
    if tagged:
        return Start(model, _origin(network, model, num_classes), of_network(model))
    return Start(model, "", None)


def _origin(network: str, model: nn.Module, num_classes: int) -> str:
    """Which weights a network has by its name, and whether its head is of them."""
    known = getattr(model, "pretrained_cfg", None) or {}
    head = "" if known.get("num_classes") == num_classes else f"; the head, of {num_classes} classes, is new"
    return f"starts from the weights that {network} names{head}"
