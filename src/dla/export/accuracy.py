"""Images for an exported network, and how right its answers are, to see what 8 bits cost."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch.nn.functional as F
from jaxtyping import Float32
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from dla.deploy.outputs import Run
from dla.images import SUFFIXES, read_image
from dla.predictor import Predictor

Size = tuple[int, int]


def model_inputs(predictor: Predictor, image: Image.Image, size: Size) -> Float32[Tensor, "1 3 h w"]:
    """A picture as the network takes it, resized to (h, w)."""
    return predictor.inputs(transforms.resize(predictor.view(image), list(size)))


class Calibration:
    """The pictures of a folder as batches of one for the network, at most `count`, evenly chosen by name.

    Raises:
        FileNotFoundError: there is no such folder, or no picture in it.
    """

    def __init__(self, predictor: Predictor, folder: str | Path, size: Size, *, count: int = 300) -> None:
        root = Path(folder)
        if not root.is_dir():
            raise FileNotFoundError(f"{folder} is no folder: name one that holds pictures like those to come")
        found = (path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        # What is hidden is no picture, such as the ._NAME.jpg that macOS leaves on other disks.
        paths = sorted(path for path in found if not any(part[0] == "." for part in path.relative_to(root).parts))
        if not paths:
            raise FileNotFoundError(f"no pictures in the folder {folder}, nor in those within: name one that has some")
        self.paths = paths[:: -(-len(paths) // count)]
        self.predictor, self.size = predictor, size

    def __len__(self) -> int:
        """The number of pictures."""
        return len(self.paths)

    def __iter__(self) -> Iterator[Tensor]:
        """One picture after another."""
        return (model_inputs(self.predictor, read_image(path), self.size) for path in self.paths)


def accuracy(predictor: Predictor, root: str | Path, size: Size, *, void: int) -> Callable[[Run], float]:
    """What measures a network on the val split under `root`: top-1 accuracy, or mean IoU, from 0 to 1.

    Args:
        predictor: knows the classes and how images are prepared.
        root: holds val/CLASS/NAME.jpg for a classifier; val/NAME.jpg and valannot/NAME.png, 8-bit class indices, for
            segmentation.
        size: (h, w) of the images that the network gets; its answers are resized to the annotations.
        void: what annotations hold where no class is given.

    Raises:
        ValueError: neither of both is the network's task, or the set does not fit its classes.
        FileNotFoundError: the split is not there.
    """
    if predictor.task not in ("classification", "segmentation") or not predictor.classes:
        raise ValueError("accuracy is measured of trained networks that classify or segment: leave out --test")
    if predictor.task == "classification":
        return _classification(predictor, root, size)
    return _segmentation(predictor, root, size, void)


def _classification(predictor: Predictor, root: str | Path, size: Size) -> Callable[[Run], float]:
    from dla.data.image_folder import LabelledFolder  # the sets need the extra [train]

    files: Sequence[tuple[str, int]] = LabelledFolder(Path(root) / "val", predictor.classes).files

    def measure(run: Run) -> float:
        right = sum(
            int(run(model_inputs(predictor, read_image(path), size))[0].argmax()) == label for path, label in files
        )
        return right / len(files)

    return measure


def _segmentation(predictor: Predictor, root: str | Path, size: Size, void: int) -> Callable[[Run], float]:
    from torchmetrics.classification import MulticlassJaccardIndex

    from dla.data.paired import PairedFolders
    from dla.data.sample import IGNORE_INDEX

    samples = PairedFolders(root, "val", classes=predictor.classes, void=void)

    def measure(run: Run) -> float:
        iou = MulticlassJaccardIndex(
            len(predictor.classes), average="none", zero_division=float("nan"), ignore_index=IGNORE_INDEX
        )
        for image, mask in (samples[index] for index in range(len(samples))):
            logits = run(model_inputs(predictor, transforms.to_pil_image(image), size))[0]
            logits = F.interpolate(logits, mask.shape[-2:], mode="bilinear", align_corners=False)
            iou.update(logits.argmax(1), mask.as_subclass(Tensor)[None].long())
        return float(iou.compute().nanmean())

    return measure
