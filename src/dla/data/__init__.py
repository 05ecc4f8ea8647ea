"""Data: synthetic scenes, CamVid, Cityscapes; joint augmentation; Lightning data modules."""

from importlib import import_module
from typing import TYPE_CHECKING

from dla.data.batch_augment import BatchAugment
from dla.data.camvid import CamVid
from dla.data.cityscapes import Cityscapes
from dla.data.loading import Cached, Seeded, collate
from dla.data.paired import PairedFolders
from dla.data.sample import IGNORE_INDEX, Sample, SegmentationSet
from dla.data.sampling import Draw, SeededSampler, draw_seed
from dla.data.scenes import Scene, Scenes
from dla.data.transforms import RandomScale, joint_transforms

if TYPE_CHECKING:
    from dla.data.modules import CamVidData, CityscapesData, FolderData, ScenesData, SegmentationData

__all__ = [
    "IGNORE_INDEX",
    "BatchAugment",
    "Cached",
    "CamVid",
    "CamVidData",
    "Cityscapes",
    "CityscapesData",
    "Draw",
    "FolderData",
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
    "collate",
    "draw_seed",
    "joint_transforms",
]


def __getattr__(name: str) -> object:
    """The data modules are imported when first asked for, so that the sets work without lightning."""
    if name in {"CamVidData", "CityscapesData", "FolderData", "ScenesData", "SegmentationData"}:
        return getattr(import_module("dla.data.modules"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
