"""Weights: how they are loaded and exported, other libraries' layouts, and those inside the package or on the hub."""

from dla.weights.export import export_weights
from dla.weights.hub import IMAGENET
from dla.weights.load import load_weights
from dla.weights.packaged import Packaged, completed_options, on_hub, pack, packaged
from dla.weights.report import LoadReport, WeightsError
from dla.weights.shown import shown_options
from dla.weights.source import read_source

__all__ = [
    "IMAGENET",
    "LoadReport",
    "Packaged",
    "WeightsError",
    "completed_options",
    "export_weights",
    "load_weights",
    "on_hub",
    "pack",
    "packaged",
    "read_source",
    "shown_options",
]
