"""Jobs for Lightning's trainer. Needs the extra `train`."""

from dla.tasks.segmentation import SegmentationTask

__all__ = ["SegmentationTask"]
