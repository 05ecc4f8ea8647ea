"""What a classification run shows: accuracy, the confusion of classes, and the images that it gets most wrong."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from lightning import LightningModule, Trainer
from PIL import Image, ImageDraw
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from dla.bands import as_picture
from dla.data.sampling import Draw
from dla.files import atomic_write
from dla.files.figures import drawing
from dla.files.tables import write_csv
from dla.images import without_accents
from dla.tasks.hardest import Hard
from dla.tasks.pictures import denormalised, trained
from dla.tasks.say import say
from dla.tasks.showcase import Showcase

WORST = 10  # classes in the table
TILE = 160  # pixels of a picture in the sheet
LINE = 14  # height of a line of its caption
LETTERS = 26  # of such a line
NAMED = 40  # up to so many classes, the matrix has their names
COUNTED = 12  # up to so many, the numbers

Line = tuple[str, str]
"""A text and its colour."""


class ClassShowcase(Showcase):
    """Prints a table whenever measuring ends, and writes what it cannot hold, next to the run's checkpoints.

        val_classes.csv      images, hits and accuracy of each class
        val_confusion.png    the confusion matrix, a row for each true class
        val_worst.png        the images of the highest loss: true class, predicted class and its probability

    `fit` writes them of the last epoch's network, `validate` of the one that it measures, `test` with `test_`.
    """

    def table(self, trainer: Trainer, values: dict[str, float], title: str) -> Table | None:
        """Accuracy, and the classes in which it is lowest, in percent."""
        measured: Any = getattr(trainer.lightning_module, "measured", None)
        if measured is None or "accuracy" not in values:
            return None
        table = Table("", "%", title=title)
        names = {"accuracy": "accuracy", "top5": "among the first five", "class_accuracy": "mean over classes"}
        for key, name in names.items():
            table.add_row(name, f"{100 * values[key]:.2f}")
        rows = sorted(class_rows(measured.confusion, _classes(trainer, measured.confusion)), key=lambda row: row[3])
        table.add_section()
        for name, images, _, accuracy in [row for row in rows if row[1]][:WORST]:
            table.add_row(escape(f"{name}, {images} images"), f"{100 * accuracy:.2f}")
        return table

    def samples(self, data: Any) -> Image.Image | None:
        """The images, and the name of each one's class."""
        items = trained(data)
        images = [Image.fromarray(denormalised(item["image"], data)) for item in items]
        lines = [[(data.classes[item["label"]], "black")] for item in items]
        return sheet(images, lines) if items else None

    def picture(self, data: Any, model: LightningModule) -> None:
        """No pictures but those of the whole split."""

    def leave(self, trainer: Trainer, model: Any, split: str) -> None:
        """Write accuracy by class, the confusion matrix and the worst images."""
        measured, data = model.measured, trainer.datamodule  # type: ignore[attr-defined]
        root = Path(trainer.default_root_dir)
        classes = _classes(trainer, measured.confusion)
        write_classes(root / f"{split}_classes.csv", class_rows(measured.confusion, classes))
        draw_confusion(root / f"{split}_confusion.png", measured.confusion, classes)
        if data and measured.hardest:
            dataset = data.whole(split)
            images = [as_picture(dataset[Draw(0, hard.image)]["image"]) for hard in measured.hardest]
            with atomic_write(root / f"{split}_worst.png") as partial:
                sheet(images, [guesses(hard, classes) for hard in measured.hardest]).save(partial)
        say(trainer, f"accuracy by class, confusion matrix and the worst images: {root}/{split}_*")


def class_rows(confusion: Int64[Tensor, "k k"], classes: Sequence[str]) -> list[tuple[str, int, int, float]]:
    """Name, images, hits and accuracy of each class; the accuracy is nan where there are no images."""
    counts, hits = confusion.sum(1).tolist(), confusion.diagonal().tolist()
    return [(name, n, hit, hit / n if n else math.nan) for name, n, hit in zip(classes, counts, hits, strict=True)]


def write_classes(path: Path, rows: Sequence[tuple[str, int, int, float]]) -> None:
    """A table of `class_rows`; an accuracy of no images stays empty."""
    lines = [(name, n, hit, f"{accuracy:.4f}" if n else "") for name, n, hit, accuracy in rows]
    write_csv(path, [("class", "images", "hits", "accuracy"), *lines])


def draw_confusion(path: Path, confusion: Int64[Tensor, "k k"], classes: Sequence[str]) -> None:
    """The matrix with each row as parts of its class's images; names, and numbers of images, where there is room."""
    count = len(classes)
    parts = (confusion / confusion.sum(1, keepdim=True).clamp(min=1)).numpy()
    with drawing(path, size=(9, 8), dpi=120) as figure:
        axes = figure.add_subplot()
        figure.colorbar(axes.imshow(parts, cmap="Blues", vmin=0, vmax=1), label="part of the true class")
        axes.set(xlabel="predicted class", ylabel="true class")
        if count <= NAMED:
            axes.set_xticks(range(count), classes, rotation=90)
            axes.set_yticks(range(count), classes)
        if count <= COUNTED:
            for row, column in np.ndindex(count, count):
                color = "white" if parts[row, column] > 0.5 else "black"
                axes.text(column, row, str(int(confusion[row, column])), ha="center", va="center", color=color)


def guesses(hard: Hard, classes: Sequence[str]) -> list[Line]:
    """What is said below an image: its class, the predicted one and how probable that is."""
    guess = f"{100 * hard.probability:.0f} % {classes[hard.prediction]}"
    return [(classes[hard.label], "black"), (guess, "green" if hard.prediction == hard.label else "firebrick")]


def sheet(images: Sequence[Image.Image], captions: Sequence[Sequence[Line]]) -> Image.Image:
    """The images in rows of six, and below each the lines of its caption."""
    columns, height = min(6, len(images)), TILE + max(map(len, captions)) * LINE + 4
    canvas = Image.new("RGB", (columns * (TILE + 4), math.ceil(len(images) / columns) * height), "white")
    draw = ImageDraw.Draw(canvas)
    for number, (image, lines) in enumerate(zip(images, captions, strict=True)):
        left, top = number % columns * (TILE + 4), number // columns * height
        canvas.paste(image.resize((TILE, TILE), Image.Resampling.NEAREST), (left, top))
        for line, (text, color) in enumerate(lines):
            draw.text((left + 2, top + TILE + 1 + line * LINE), without_accents(text)[:LETTERS], fill=color)
    return canvas


def _classes(trainer: Trainer, confusion: Tensor) -> list[str]:
    data = trainer.datamodule  # type: ignore[attr-defined]
    return list(data.classes) if data else [str(number) for number in range(len(confusion))]
