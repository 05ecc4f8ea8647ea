"""What `dla predict` makes of one picture: masks, boundary maps or the names of classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from dla.bands import Picture, as_picture
from dla.files import atomic_write, refuse_folder, write_text
from dla.files.georeference import Place, describe, find_place, sidecar
from dla.files.tables import write_csv
from dla.images import RGB, ImageError, draw_overlay
from dla.inference import OVERLAP, check_views
from dla.predict.predictor import Predictor

TOP = 5  # classes that are named unless asked otherwise
LARGEST_JPEG = 65500  # pixels on a side
INK: RGB = (255, 40, 40)


class Results:
    """Writes the results of one task into `folder`; one object serves one run of the command.

    Args:
        predictor: of that task.
        folder: where to write.
        inference: keywords of the predictor's method, such as scales and flip.
    """

    noun: str  # what was written, in the command's last line

    def __init__(self, predictor: Predictor, folder: Path, inference: dict[str, Any]) -> None:
        self.predictor, self.folder, self.inference = predictor, folder, inference

    def targets(self, path: Path) -> tuple[Path, ...]:
        """The files that belong to the picture `path` alone; none unless a subclass says so."""
        return ()

    def write(self, path: Path, image: Picture) -> str | None:
        """Write them; a line to print, where there is one, is returned."""
        raise NotImplementedError

    def finish(self) -> None:
        """Write what belongs to all pictures; nothing does unless a subclass says so."""


class Dense(Results):
    """Something of each pixel."""

    endings: tuple[str, ...]  # what follows the picture's stem in the names of its files

    def targets(self, path: Path) -> tuple[Path, ...]:
        """The files that belong to the picture `path` alone; sidecars are written where it has a place on a map."""
        pictures = self._pictures(path)
        return (*pictures, *(sidecar(target) for target in pictures if target.suffix == ".png"))

    def _pictures(self, path: Path) -> tuple[Path, ...]:
        return tuple(self.folder / f"{path.stem}{ending}" for ending in self.endings)

    def _save(self, path: Path, *pictures: Image.Image) -> None:
        """Write what was made of the picture `path`, each PNG with its place on the map."""
        place = find_place(path, bands=self.predictor.bands is not None)
        for picture, target in zip(pictures, self._pictures(path), strict=True):
            if target.suffix == ".png":
                save_placed(picture, target, place)
            else:
                save(picture, target)


class Masks(Dense):
    """STEM.png holds the class of each pixel; STEM_overlay.jpg shows it."""

    noun = "masks and overlays"
    endings = (".png", "_overlay.jpg")

    def write(self, path: Path, image: Picture) -> None:
        """Segment the picture."""
        mask = self.predictor.segment(image, **self.inference)
        overlay = draw_overlay(as_picture(image), mask, self.predictor.classes, self.predictor.colors)
        self._save(path, Image.fromarray(mask), overlay)


class Boundaries(Dense):
    """STEM.png holds the probability of a boundary, STEM_thin.png its crest; STEM_overlay.jpg shows that."""

    noun = "boundary maps and overlays"
    endings = (".png", "_thin.png", "_overlay.jpg")

    def write(self, path: Path, image: Picture) -> None:
        """Find the boundaries of the picture.

        Raises:
            ImageError: it is narrower or lower than 2 pixels, so that no boundary has a direction there.
        """
        from dla.metrics.boundary.suppression import thin_crest  # it needs scipy, of the extra `train`

        seen = as_picture(image)
        if min(seen.size) < 2:
            raise ImageError(
                f"{path} is {seen.width} x {seen.height}: to have boundaries, it needs 2 pixels or more on each side"
            )
        probabilities = self.predictor.boundaries(image, **self.inference)
        crest = thin_crest(probabilities)
        full = Image.fromarray((255 * probabilities).round().astype(np.uint8))
        self._save(path, full, Image.fromarray(crest), draw_boundaries(seen, crest))


class Classes(Results):
    """One line a picture, its most probable classes; predictions.csv holds the same.

    Args:
        predictor: of classification.
        folder: where to write predictions.csv.
        inference: keywords of `Predictor.classify`.
        top: how many classes to name.
    """

    noun = "lines of predictions.csv"

    def __init__(self, predictor: Predictor, folder: Path, inference: dict[str, Any], *, top: int) -> None:
        super().__init__(predictor, folder, inference)
        self.top = min(top, len(predictor.classes))
        self.rows: list[list[str]] = []

    def write(self, path: Path, image: Picture) -> str:
        """Classify the picture."""
        probabilities = self.predictor.classify(image, **self.inference)
        best = np.argsort(-probabilities, kind="stable")[: self.top]
        self.rows.append(
            [str(path), *(text for i in best for text in (self.predictor.classes[i], f"{probabilities[i]:.4f}"))]
        )
        return f"{path}: " + ", ".join(f"{self.predictor.classes[i]} {100 * probabilities[i]:.1f} %" for i in best)

    def finish(self) -> None:
        """Write the picture's path, then class and probability from the most probable on."""
        header = ["image", *(f"{what}{rank}" for rank in range(1, self.top + 1) for what in ("class", "probability"))]
        write_csv(self.folder / "predictions.csv", [header, *self.rows])


def results(
    predictor: Predictor,
    folder: Path,
    *,
    scales: Sequence[float],
    flip: bool,
    window: int | None,
    overlap: float | None,
    top: int | None,
) -> Results:
    """What writes the results of the predictor's task.

    Raises:
        ValueError: scales or windows are asked for in classification, which sees one square of each picture; or a
            number of classes elsewhere; or windows overlap by all of them.
    """
    if predictor.task != "classification":
        if top is not None:
            raise ValueError(f"--top is for classification; this model is one of {predictor.task}: leave it out")
        overlap = OVERLAP if overlap is None else overlap
        check_views(scales, window, overlap)
        inference = {"scales": scales, "flip": flip, "window": window, "overlap": overlap}
        return (Masks if predictor.task == "segmentation" else Boundaries)(predictor, folder, inference)
    if list(scales) != [1.0] or window is not None or overlap is not None:
        raise ValueError(
            "--scales, --window and --overlap are for dense prediction; this model classifies: leave them out"
        )
    return Classes(predictor, folder, {"flip": flip}, top=TOP if top is None else top)


def draw_boundaries(image: Image.Image, crest: UInt8[np.ndarray, "h w"]) -> Image.Image:
    """The picture, paler, under its boundaries, the more probable the more opaque."""
    drawn = Image.blend(image, Image.new("RGB", image.size, "white"), 0.5)
    drawn.paste(INK, mask=Image.fromarray(crest))
    return drawn


def save(image: Image.Image, path: Path) -> None:
    """Write whole or not at all; a JPEG is made smaller where it exceeds what the format takes."""
    if path.suffix == ".jpg":
        image.thumbnail((LARGEST_JPEG, LARGEST_JPEG))  # leaves smaller ones as they are
    with atomic_write(path) as temporary:
        image.save(temporary, quality=95)


def save_placed(image: Image.Image, path: Path, place: Place | None) -> None:
    """Write the picture, and beside it where it lies, if that is known."""
    aside = sidecar(path)
    refuse_folder(aside)
    aside.unlink(missing_ok=True)  # one of an earlier run goes before its picture, and is of no other
    save(image, path)
    if place:
        write_text(aside, describe(place))
