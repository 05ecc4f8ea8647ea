"""Weights: how they are loaded and exported, other libraries' layouts, and those inside the package or on the hub."""

from dla.weights.export import export_weights
from dla.weights.hub import IMAGENET
from dla.weights.inferred import inferred_options
from dla.weights.load import load_weights
from dla.weights.packaged import Packaged, completed_options, on_hub, pack, packaged
from dla.weights.report import LoadReport, WeightsError
from dla.weights.source import read_source

__all__ = [
    "IMAGENET",
    "LoadReport",
    "Packaged",
    "WeightsError",
    "completed_options",
    "export_weights",
    "inferred_options",
    "load_weights",
    "on_hub",
    "pack",
    "packaged",
    "read_source",
]
