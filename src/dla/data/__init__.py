"""Data: readers of scenes, streets, boundaries and classes; joint augmentation; Lightning data modules."""

from importlib import import_module
from typing import TYPE_CHECKING

from dla.data.batch_augment import BatchAugment
from dla.data.boundaries.annotators import Annotated, BoundarySet
from dla.data.boundaries.bsds import BSDS500
from dla.data.boundaries.folders import BoundaryFolders
from dla.data.boundaries.scenes import BoundaryScenes
from dla.data.loading import Cached, Seeded, collate
from dla.data.random_view import RandomView
from dla.data.sample import IGNORE_INDEX, Sample, SegmentationSet
from dla.data.sampling import Draw, SeededSampler, draw_seed
from dla.data.segmentation.camvid import CamVid
from dla.data.segmentation.cityscapes import Cityscapes
from dla.data.segmentation.folders import PairedFolders
from dla.data.segmentation.scenes import Scene, Scenes
from dla.data.transforms import joint_transforms

if TYPE_CHECKING:
    from dla.data.boundaries.modules import BoundaryData, BoundaryFolderData, BoundaryScenesData, BSDSData
    from dla.data.classification.fine_grained import AircraftData, CUBData, Food101Data, StanfordCarsData
    from dla.data.classification.modules import CIFARData, DigitsData, ImageFolderData
    from dla.data.classification.shards import ShardsData
    from dla.data.segmentation.base import SegmentationData
    from dla.data.segmentation.modules import CamVidData, CityscapesData, FolderData, ScenesData
    from dla.data.segmentation.outlines.coco import Coco
    from dla.data.segmentation.outlines.labelme import LabelMe
    from dla.data.segmentation.outlines.modules import CocoData, LabelMeData, YoloData
    from dla.data.segmentation.outlines.yolo import Yolo
    from dla.data.segmentation.voc import VocData

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
    "Coco",
    "CocoData",
    "DigitsData",
    "Draw",
    "FolderData",
    "Food101Data",
    "ImageFolderData",
    "LabelMe",
    "LabelMeData",
    "PairedFolders",
    "RandomView",
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
    "VocData",
    "Yolo",
    "YoloData",
    "collate",
    "draw_seed",
    "joint_transforms",
]


MODULES = {
    "boundaries.modules": ("BSDSData", "BoundaryData", "BoundaryFolderData", "BoundaryScenesData"),
    "classification.fine_grained": ("AircraftData", "CUBData", "Food101Data", "StanfordCarsData"),
    "classification.modules": ("CIFARData", "DigitsData", "ImageFolderData"),
    "classification.shards": ("ShardsData",),
    "segmentation.base": ("SegmentationData",),
    "segmentation.modules": ("CamVidData", "CityscapesData", "FolderData", "ScenesData"),
    "segmentation.outlines.coco": ("Coco",),
    "segmentation.outlines.labelme": ("LabelMe",),
    "segmentation.outlines.modules": ("CocoData", "LabelMeData", "YoloData"),
    "segmentation.outlines.yolo": ("Yolo",),
    "segmentation.voc": ("VocData",),
}
"""What needs lightning or pycocotools, by the file that holds it: imported when first asked for."""


def __getattr__(name: str) -> object:
    for module, names in MODULES.items():
        if name in names:
            return getattr(import_module(f"dla.data.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
