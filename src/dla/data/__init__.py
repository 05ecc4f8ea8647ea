"""Data: readers of scenes, streets, boundaries and classes; joint augmentation; Lightning data modules."""

from importlib import import_module
from typing import TYPE_CHECKING

from dla.data.annotators import Annotated, BoundarySet
from dla.data.batch_augment import BatchAugment
from dla.data.boundary_folders import BoundaryFolders
from dla.data.boundary_scenes import BoundaryScenes
from dla.data.bsds import BSDS500
from dla.data.camvid import CamVid
from dla.data.cityscapes import Cityscapes
from dla.data.loading import Cached, Seeded, collate
from dla.data.paired import PairedFolders
from dla.data.sample import IGNORE_INDEX, Sample, SegmentationSet
from dla.data.sampling import Draw, SeededSampler, draw_seed
from dla.data.scenes import Scene, Scenes
from dla.data.transforms import RandomScale, joint_transforms

if TYPE_CHECKING:
    from dla.data.boundaries import BoundaryData, BoundaryFolderData, BoundaryScenesData, BSDSData
    from dla.data.class_modules import CIFARData, DigitsData, ImageFolderData
    from dla.data.fine_grained import AircraftData, CUBData, Food101Data, StanfordCarsData
    from dla.data.modules import CamVidData, CityscapesData, FolderData, ScenesData
    from dla.data.segmentation import SegmentationData
    from dla.data.shards import ShardsData

__all__ = [
    "BSDS500",
    "IGNORE_INDEX",
    "AircraftData",
    "Annotated",
    "BSDSData",
    "BatchAugment",
    "BoundaryData",
    "BoundaryFolderData",
    "BoundaryFolders",
    "BoundaryScenes",
    "BoundaryScenesData",
    "BoundarySet",
    "CIFARData",
    "CUBData",
    "Cached",
    "CamVid",
    "CamVidData",
    "Cityscapes",
    "CityscapesData",
    "DigitsData",
    "Draw",
    "FolderData",
    "Food101Data",
    "ImageFolderData",
    "PairedFolders",
    "RandomScale",
    "Sample",
    "Scene",
    "Scenes",
    "ScenesData",
    "Seeded",
    "SeededSampler",
    "SegmentationData",
    "SegmentationSet",
    "ShardsData",
    "StanfordCarsData",
    "collate",
    "draw_seed",
    "joint_transforms",
]


MODULES = {
    "boundaries": ("BSDSData", "BoundaryData", "BoundaryFolderData", "BoundaryScenesData"),
    "class_modules": ("CIFARData", "DigitsData", "ImageFolderData"),
    "fine_grained": ("AircraftData", "CUBData", "Food101Data", "StanfordCarsData"),
    "modules": ("CamVidData", "CityscapesData", "FolderData", "ScenesData"),
    "segmentation": ("SegmentationData",),
    "shards": ("ShardsData",),
}
"""The data modules by the file that holds them: imported when first asked for, so that sets work without lightning."""


def __getattr__(name: str) -> object:
    for module, names in MODULES.items():
        if name in names:
            return getattr(import_module(f"dla.data.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
