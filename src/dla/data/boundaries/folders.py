"""A folder of images beside a folder of boundary truths: BSDS500's layout, and good for PASCAL, NYUD and others."""

from pathlib import Path
from typing import ClassVar

import torch

from dla.bands import Bands
from dla.data.boundaries.annotators import CLASSES, COLORS, Annotated
from dla.data.boundaries.truth import list_truths, read_truth
from dla.data.sample import check_sizes, pixel_reader
from dla.files import read_names
from dla.files.listing import PICTURES, composed, list_by_stem
from dla.images import RGB


class BoundaryFolders:
    """Images and truths paired by stem; items are annotated images, in the order of the stems or of the list.

        images/NAME.jpg, or another format    truths/NAME.mat as in BSDS500, or NAME.png, where not 0 is boundary;
                                              or in all of them a folder NAME with a PNG of each annotator

    Args:
        images: Folder of the images.
        truths: Folder of the truths.
        names: File with one stem a line, the images to read; None for all in the folder.
        bands: Where images have other channels than RGB, the range of values of each.

    Raises:
        FileNotFoundError: A folder or the list is missing, or the image of a listed stem, or the truth of an image.
        ValueError: Two files have one stem, or the list holds no stem or one twice; on reading an item: a broken
            file, or unequal sizes.
    """

    classes: ClassVar[tuple[str, ...]] = CLASSES
    colors: ClassVar[tuple[RGB, ...]] = COLORS

    def __init__(
        self, images: str | Path, truths: str | Path, names: str | Path | None = None, *, bands: Bands | None = None
    ) -> None:
        self.read_image = pixel_reader(bands)
        pictures, drawn = list_by_stem(images, PICTURES), list_truths(truths)
        stems = list(pictures) if names is None else [*map(composed, read_names(Path(names), "image"))]
        for stem in stems:
            if stem not in pictures:
                raise FileNotFoundError(
                    f"{names} lists {stem}, but {images} holds no image of that name: correct the list, "
                    "which holds one name a line, without folder and suffix"
                )
            if stem not in drawn:
                raise FileNotFoundError(
                    f"{pictures[stem]} has no truth: expected {Path(truths, stem)}.mat or .png, or, for all "
                    f"images alike, a folder {stem} with a PNG of each annotator; "
                    "add it, remove the image, or list the images to read"
                )
        self.files = [(pictures[stem], drawn[stem]) for stem in stems]

    def __len__(self) -> int:
        """The number of images."""
        return len(self.files)

    def __getitem__(self, index: int) -> Annotated:
        """Image and truths number `index`."""
        image_path, truth_path = self.files[index]
        image, truths = self.read_image(image_path), torch.from_numpy(read_truth(truth_path))
        check_sizes(image, truths[0], image_path, truth_path)
        return Annotated(image, truths)
