"""CamVid in SegNet's layout: road scenes of 480x360, eleven classes and void."""

from pathlib import Path

from dla.data.sample import Split
from dla.data.segmentation.folders import PairedFolders
from dla.images import RGB

VOID = 11  # what the annotation files hold where no class is given

# SegNet's eleven classes in the order of their indices, in the colours of the data base itself.
PALETTE: dict[str, RGB] = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (0, 0, 192),
    "tree": (128, 128, 0),
    "sign": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}


class CamVid(PairedFolders):
    """One split of CamVid; items are samples with void as 255. Layout and errors are those of `PairedFolders`.

    Args:
        root: Folder that holds train, trainannot, val, valannot, test, testannot.
        split: Which split to read; the others need not be there.
    """

    classes = tuple(PALETTE)
    colors = tuple(PALETTE.values())

    def __init__(self, root: str | Path, split: Split = "train") -> None:
        super().__init__(root, split, classes=self.classes, colors=self.colors, void=VOID)
