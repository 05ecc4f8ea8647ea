"""What a boundary run shows: ODS, OIS and AP, and a picture of some predictions."""

from typing import Any

import numpy as np
from lightning import Trainer
from PIL import Image
from rich.table import Table
from torch import Tensor

from dla.tasks.pictures import denormalised, grid, pairs, shown, trained
from dla.tasks.showcase import Showcase

RED = np.array([255, 0, 0], np.uint8)


class BoundaryShowcase(Showcase):
    """The three numbers of the benchmark; some training images; of validation input, truth and probability."""

    def table(self, trainer: Trainer, values: dict[str, float], title: str) -> Table | None:
        """ODS, OIS and, where it was measured, AP in percent."""
        if "ods" not in values:
            return None
        table = Table("measure", "%", title=title)
        for name in ("ods", "ois", "ap"):
            if name in values:
                table.add_row(name.upper(), f"{100 * values[name]:.2f}")
        return table

    def samples(self, data: Any) -> Image.Image:
        """The images, and their boundaries in red upon them."""
        images = [(denormalised(item["image"], data), (item["mask"] == 1).numpy()[..., None]) for item in trained(data)]
        return pairs([(image, np.where(drawn, RED, image)) for image, drawn in images])

    def picture(self, data: Any, model: Any) -> Image.Image:
        """Rows of input, truth (what the annotators merged into) and probability, black for 1."""
        rows = (
            (
                denormalised(item["image"], data),
                _grey(item["mask"] == 1),
                _grey(model.probabilities(images, plain=True)[0, 1]),
            )
            for item, images in shown(data, model)
        )
        return grid(rows, ("input", "truth", "probability"))


def _grey(values: Tensor) -> np.ndarray:
    ink = (255 * (1 - values.float().cpu().numpy())).round().astype(np.uint8)
    return ink[..., None].repeat(3, axis=-1)
