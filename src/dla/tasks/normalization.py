"""How images are normalised: as the weights expect that a run starts from, or else as the data does by itself."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from dla.data.base import SetData
from dla.data.transforms import PerChannel

Normalization = tuple[PerChannel, PerChannel]
"""Mean and standard deviation of each channel, of images from 0 to 1."""


def stated(facts: Mapping[str, Any]) -> Normalization | None:
    """What a network's `pretrained_cfg` or a checkpoint's facts say; None where they say nothing."""
    return (tuple(facts["mean"]), tuple(facts["std"])) if {"mean", "std"} <= facts.keys() else None


def of_network(model: nn.Module) -> Normalization | None:
    """What a network's named weights are made for."""
    return stated(getattr(model, "pretrained_cfg", None) or {})


def fitting(normalization: Normalization | None, channels: int) -> Normalization | None:
    """The same, or None where it is of images of other channels, so that it says nothing of these."""
    return normalization if normalization and len(normalization[0]) == channels else None


def adopt(data: Any, normalization: Normalization | None) -> None:
    """Have a data module of ours normalise so; one of somebody else normalises as it will."""
    if normalization and isinstance(data, SetData):
        data.normalize_as(*normalization)
