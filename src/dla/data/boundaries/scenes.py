"""The synthetic scenes as a boundary set: one annotator, who knows where each shape ends."""

from typing import ClassVar

from dla.data.boundaries.annotators import CLASSES, COLORS, Annotated
from dla.data.sample import Split
from dla.data.segmentation.scenes import Scenes
from dla.images import RGB


class BoundaryScenes:
    """A set of scenes made on the fly; items are annotated images, with one truth.

    Args:
        count: How many scenes the set has.
        size: Side of the images, in pixels, at least 16.
        split: Splits of one seed have no scene in common.
        seed: Seed, at least 0.
    """

    classes: ClassVar[tuple[str, ...]] = CLASSES
    colors: ClassVar[tuple[RGB, ...]] = COLORS

    def __init__(self, count: int, *, size: int = 96, split: Split = "train", seed: int = 0) -> None:
        self.scenes = Scenes(count, size=size, split=split, seed=seed)

    def __len__(self) -> int:
        """The number of scenes."""
        return len(self.scenes)

    def __getitem__(self, index: int) -> Annotated:
        """Image and boundary of scene number `index`."""
        scene = self.scenes.scene(index)
        return Annotated(scene.image, scene.boundary[None])
