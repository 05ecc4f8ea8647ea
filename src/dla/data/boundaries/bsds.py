"""BSDS500 in its layout: photographs of 481x321 or 321x481, each with the boundaries that four to nine people drew."""

from pathlib import Path

from dla.data.boundaries.folders import BoundaryFolders
from dla.data.sample import Split


class BSDS500(BoundaryFolders):
    """One split of BSDS500; items are annotated images.

        root/images/train/NAME.jpg    root/groundTruth/train/NAME.mat      the same with val and test

    Args:
        root: Folder that holds images and groundTruth, or one above it in the publisher's archive: data, BSDS500, BSR.
        split: Which split to read; the others need not be there.

    Raises:
        FileNotFoundError: A folder of the split, or the truth of an image, is missing, or there is no image.
        ValueError: On reading an item: a broken file, or unequal sizes.
    """

    def __init__(self, root: str | Path, split: Split = "train") -> None:
        data = find_root(Path(root))
        super().__init__(data / "images" / split, data / "groundTruth" / split)


def find_root(root: Path) -> Path:
    """The folder that holds images and groundTruth: `root`, or where the publisher's archive has it within."""
    for inner in (".", "data", "BSDS500/data", "BSR/BSDS500/data"):
        if (root / inner / "images").is_dir() and (root / inner / "groundTruth").is_dir():
            return root / inner
    raise FileNotFoundError(
        f"no folders images and groundTruth in {root} or {root / 'data'}: unpack BSR_bsds500.tgz, and give the folder "
        "that holds both, or BSDS500 or BSR above it, as root"
    )
