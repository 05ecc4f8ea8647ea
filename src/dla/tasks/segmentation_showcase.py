"""What a segmentation run shows: IoU per class, and a picture of some predictions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from lightning import Trainer
from PIL import Image
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from dla.images import RGB
from dla.tasks.pictures import Name, denormalised, grid, pairs, shown, trained
from dla.tasks.showcase import Showcase


class SegmentationShowcase(Showcase):
    """IoU per class; classes over some training images; input, truth and prediction of some validation images."""

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
        rows = [
            (
                denormalised(item["image"], data),
                _paint(item["mask"], data.colors),
                _paint(model.classes(images, plain=True)[0], data.colors),
            )
            for item, images in shown(data, model)
        ]
        return grid(rows, ("input", "truth", "prediction"), _legend(data))


def _legend(data: Any) -> list[Name]:
    return [*zip(data.classes, data.colors, strict=True), ("void", (0, 0, 0))]


def _paint(mask: Tensor, colors: Sequence[RGB]) -> np.ndarray:
    palette = np.zeros((256, 3), np.uint8)  # what is ignored stays black
    palette[: len(colors)] = colors
    return palette[mask.cpu().numpy()]
