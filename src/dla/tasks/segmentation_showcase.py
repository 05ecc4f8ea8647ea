"""What a segmentation run shows: IoU per class, and a picture of some predictions."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning import Trainer
from PIL import Image
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from dla.data.segmentation.base import SegmentationData
from dla.files import atomic_write
from dla.files.tables import write_csv
from dla.images import RGB
from dla.tasks.pictures import Name, denormalised, grid, pairs, shown, trained
from dla.tasks.say import say
from dla.tasks.showcase import Showcase

WORST = 6  # images in the picture of them


class SegmentationShowcase(Showcase):
    """IoU per class; classes over some training images; input, truth and prediction of some validation images.

    And of all images of the split that is measured, where a wrong annotation or what is hard to see comes first:

        val_images.csv    mean IoU of the classes that occur or are predicted, and pixel accuracy, the worst image first
        val_worst.png     input, truth and prediction of the first ones, with their mean IoU and names

    `fit` writes them of the last epoch's network, `validate` of the one that it measures, `test` with `test_`.
    """

    def table(self, trainer: Trainer, values: dict[str, float], title: str) -> Table | None:
        """IoU of every class, their mean, and pixel accuracy, in percent."""
        ious = {name.removeprefix("iou/"): value for name, value in values.items() if name.startswith("iou/")}
        if not ious:
            return None
        table = Table("class", "IoU %", title=title)
        for name, value in ious.items():
            table.add_row(escape(name), f"{100 * value:.2f}")
        table.add_section()
        table.add_row("mean IoU", f"{100 * values['miou']:.2f}")
        table.add_row("pixel accuracy", f"{100 * values['accuracy']:.2f}")
        return table

    def samples(self, data: Any) -> Image.Image:
        """The images, and half and half with the colours of their classes, so that what is displaced is seen."""
        images = [(denormalised(item["image"], data), _paint(item["mask"], data.colors)) for item in trained(data)]
        return pairs([(image, image // 2 + truth // 2) for image, truth in images], _legend(data))

    def picture(self, data: Any, model: Any) -> Image.Image:
        """Rows of input, truth and prediction, and the legend."""
        return _rows(data, model, shown(data, model), plain=True)

    def leave(self, trainer: Trainer, model: Any, split: Any) -> None:
        """Write how well each image was segmented, and draw the worst."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, SegmentationData):  # of another no image can be looked up
            return
        folder = Path(trainer.default_root_dir)
        lines = [(data.named(split, image), f"{iou:.4f}", f"{accuracy:.4f}") for image, iou, accuracy in model.measured]
        write_csv(folder / f"{split}_images.csv", [("image", "mean IoU", "pixel accuracy"), *lines])
        worst = model.measured[:WORST]
        items = shown(data, model, split, [found.image for found in worst])
        titles = [f"{100 * found.iou:.1f} %: {Path(data.named(split, found.image)).name}" for found in worst]
        with atomic_write(folder / f"{split}_worst.png") as partial:
            _rows(data, model, items, titles, plain=trainer.state.fn == "fit").save(partial)
        say(trainer, f"mean IoU of each image, and a picture of the lowest: {folder}/{split}_*")


def _rows(
    data: Any, model: Any, items: Iterable[tuple[dict[str, Tensor], Tensor]], titles: Sequence[str] = (), *, plain: bool
) -> Image.Image:
    """Input, truth and prediction of each item, under their titles if there are any."""
    rows = (
        (
            denormalised(item["image"], data),
            _paint(item["mask"], data.colors),
            _paint(model.classes(images, plain=plain)[0], data.colors),
        )
        for item, images in items
    )
    return grid(rows, ("input", "truth", "prediction"), _legend(data), titles)


def _legend(data: Any) -> list[Name]:
    return [*zip(data.classes, data.colors, strict=True), ("void", (0, 0, 0))]


def _paint(mask: Tensor, colors: Sequence[RGB]) -> np.ndarray:
    palette = np.zeros((256, 3), np.uint8)  # what is ignored stays black
    palette[: len(colors)] = colors
    return palette[mask.cpu().numpy()]
