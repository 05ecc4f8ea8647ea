"""Weights: how they are loaded, other libraries' layouts, and those inside the package."""

from dla.weights.load import WeightsError, load_weights, network_weights
from dla.weights.packaged import Packaged, load_packaged, pack, packaged
from dla.weights.timm import to_timm

__all__ = [
    "Packaged",
    "WeightsError",
    "load_packaged",
    "load_weights",
    "network_weights",
    "pack",
    "packaged",
    "to_timm",
]
