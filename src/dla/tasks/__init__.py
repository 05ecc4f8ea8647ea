"""Jobs for Lightning's trainer. Needs the extra `train`."""

from dla.tasks.boundaries import BoundaryTask
from dla.tasks.classification import ClassificationTask
from dla.tasks.segmentation import SegmentationTask

__all__ = ["BoundaryTask", "ClassificationTask", "SegmentationTask"]
