"""Pictures as an exported network takes them: one size, normalised."""

from collections.abc import Iterator
from pathlib import Path

from jaxtyping import Float32
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from dla.bands import Picture
from dla.files.listing import list_images, spread
from dla.predict import Predictor

Size = tuple[int, int]
MOST = 300  # pictures from which ranges are learned; some hundred are enough


def model_inputs(predictor: Predictor, image: Picture, size: Size) -> Float32[Tensor, "1 c h w"]:
    """A picture as the network takes it, resized to (h, w)."""
    return predictor.inputs(transforms.resize(predictor.framed(image), list(size)))


class Calibration:
    """The pictures of a folder as batches of one for the network, at most `MOST`, evenly chosen by name.

    Standard error shows the progress of going through them for the first time; OpenVINO, which goes through them
    again, shows its own then.

    Raises:
        FileNotFoundError: there is no such folder, or no picture in it.
    """

    def __init__(self, predictor: Predictor, folder: str | Path, size: Size) -> None:
        root = Path(folder)
        if not root.is_dir():
            raise FileNotFoundError(f"{folder} is no folder: name one that holds pictures like those to come")
        paths = list_images(root, deep=True)
        if not paths:
            raise FileNotFoundError(f"no pictures in the folder {folder}, nor in those within: name one that has some")
        self.paths = spread(paths, MOST)
        self.predictor, self.size, self.seen = predictor, size, False

    def __iter__(self) -> Iterator[Tensor]:
        """One picture after another."""
        console, seen = Console(stderr=True), self.seen
        for path in track(self.paths, "calibrating", console=console, transient=True, disable=seen):
            yield model_inputs(self.predictor, self.predictor.read(path), self.size)
        self.seen = True
