"""Lightning data modules of boundary detection: BSDS500, folders of your own, synthetic scenes."""

from pathlib import Path
from typing import Any

from dla.bands import as_bands
from dla.data.boundaries.base import BoundaryData
from dla.data.boundaries.bsds import BSDS500
from dla.data.boundaries.folders import BoundaryFolders
from dla.data.boundaries.scenes import BoundaryScenes
from dla.data.places import split_places
from dla.data.sample import Split
from dla.data.segmentation.scene_base import SceneData

__all__ = ["BSDSData", "BoundaryData", "BoundaryFolderData", "BoundaryScenesData"]


class BSDSData(BoundaryData):
    """BSDS500 in its layout; `root` holds images and groundTruth, or is a folder above them in the archive.

    Args:
        root: Folder of the set.
        **settings: Those of `BoundaryData`.
    """

    def __init__(self, root: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.root = root

    def read(self, split: Split) -> BSDS500:
        """The images and truths of one split; a missing folder or file is named by a FileNotFoundError."""
        return BSDS500(self.root, split)


class BoundaryFolderData(BoundaryData):
    """Your own images, or PASCAL's, or NYUD's, beside their truths, BSDS-style .mat or PNG, paired by stem.

    In `images`, `truths` and `names`, {split} stands for train, val or test; to train, one of
    `images` and `names` must hold it.

    Args:
        root: Folder of the set.
        images: Folder of the images within it.
        truths: Folder of the truths within it.
        names: File within it that lists the images of a split, one stem a line; null for all in the folder.
        bands: Where images have other channels than red, green and blue, or more bits than 8: for each the values that
            become black and white, as [[0, 65535]] for grey ones of 16 bits; null reads pictures in colour.
        **settings: Those of `BoundaryData`.
    """

    def __init__(
        self,
        root: str,
        *,
        images: str = "images/{split}",
        truths: str = "groundTruth/{split}",
        names: str | None = None,
        bands: list[tuple[float, float]] | None = None,
        **settings: Any,
    ) -> None:
        self.bands = as_bands(bands)  # first, since augmentation is made for them
        super().__init__(**settings)
        self.root, self.images, self.truths, self.names = Path(root), images, truths, names

    def setup(self, stage: str = "fit") -> None:
        """Read the splits that a stage needs.

        Raises:
            ValueError: train and val would be the same images.
        """
        if stage == "fit" and "{split}" not in f"{self.images}{self.names}":
            raise ValueError(
                f"images is {self.images} and names {self.names}: train and val would be the same images; put "
                "{split} into one of them, which stands for train, val and test"
            )
        super().setup(stage)

    def read(self, split: Split) -> BoundaryFolders:
        """The images and truths of one split; a missing folder or file is named by a FileNotFoundError."""
        named = [self.images, self.truths, *([self.names] if self.names else [])]
        return BoundaryFolders(*split_places(self.root, named, split), bands=self.bands)


class BoundaryScenesData(SceneData, BoundaryData):
    """Boundaries of synthetic scenes, made on the fly: nothing to download."""

    def read(self, split: Split) -> BoundaryScenes:
        """The scenes of one split."""
        return BoundaryScenes(**self.scene_options(split))
