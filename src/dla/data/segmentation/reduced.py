"""Photographs of many megapixels, seen smaller."""

from typing import Any

from torchvision.transforms.v2 import functional as F

from dla.data.random_view import resized
from dla.data.sample import Sample, SegmentationSet
from dla.images import RGB
from dla.inference import reduction, scaled


class Reduced:
    """A set of which larger images, and their masks, are reduced until their longer side has `max_size` pixels.

    `dla predict` reduces pictures in the same way, and gives masks of their own size.

    Args:
        dataset: The set.
        max_size: In pixels, at least 1.
    """

    classes: tuple[str, ...]
    colors: tuple[RGB, ...]

    def __init__(self, dataset: SegmentationSet, max_size: int) -> None:
        self.dataset, self.max_size = dataset, max_size
        self.classes, self.colors = dataset.classes, dataset.colors
        self.files: Any = getattr(dataset, "files", None)

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        """Sample number `index`, images antialiased and masks nearest."""
        sample = self.dataset[index]
        size = F.get_size(sample.image)
        smaller = scaled(size, reduction(size, self.max_size))
        return sample if smaller == size else Sample(*(resized(part, smaller) for part in sample))
