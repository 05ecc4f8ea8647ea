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
        untrained: which part of it no weights were for; empty where all of it has some.
    """

    model: Any
    origin: str
    normalization: Normalization | None
    untrained: str


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
        ValueError: there is no such network, or no such weights, or they do not fit; or there are weights of both.
    """
    tagged = parse(network).weighted
    if tagged and weights:
        raise ValueError(
            f"the network {network} names weights, and {weights} are others: leave out one of them, by "
            f"--model.network {parse(network).untagged} or --model.weights null"
        )
    model = create_model(network, pretrained=tagged, num_classes=num_classes, **options)
    if weights:
        return _from_weights(model, weights, new_head)
    if tagged:
        return _by_name(model, network, num_classes)
    return Start(model, "", None, "all of the network")


def _from_weights(model: nn.Module, weights: str, new_head: bool) -> Start:
    source = read_source(weights)
    report = load_weights(model, source, new_head=new_head)
    foreign = report.untouched or report.layout == "timm"
    expected = stated(source.get("dla", {})) or (of_network(model) if foreign else None)
    new = dict.fromkeys(key.partition(".")[0] for key in (*report.untouched, *report.reinitialised))
    return Start(model, f"{weights}: {report}", expected, " and ".join(new))


def _by_name(model: nn.Module, network: str, num_classes: int) -> Start:
    """With the weights that the name says: of the backbone alone, where it names none of the structure over it."""
    name, known = parse(network), getattr(model, "pretrained_cfg", None) or {}
    of_backbone = bool(name.structure) and not name.whole
    head = "" if known.get("num_classes") == num_classes else f"the head, of {num_classes} classes"
    new = f"{name.structure} and the head" if of_backbone else head
    said = f"; {new}{' are' if of_backbone else ', is'} new" if new else ""
    return Start(model, f"starts from the weights that {network} names{said}", of_network(model), new)
