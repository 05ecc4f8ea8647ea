"""Backbones as lists of maps, finest first: timm's, torchvision's, and any module that gives maps."""

from dla.backbones.adapt import adapt
from dla.backbones.backbone import Backbone
from dla.backbones.maps import Maps
from dla.backbones.probe import example
from dla.backbones.pyramid import SimplePyramid
from dla.backbones.specs import FeatureSpec, check_specs, choose, is_power_of_two, map_size, take_indices
from dla.backbones.timm_maps import timm_model

__all__ = [
    "Backbone",
    "FeatureSpec",
    "Maps",
    "SimplePyramid",
    "adapt",
    "check_specs",
    "choose",
    "example",
    "is_power_of_two",
    "map_size",
    "take_indices",
    "timm_model",
]
