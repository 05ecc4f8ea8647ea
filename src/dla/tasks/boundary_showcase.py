"""What a boundary run shows: ODS, OIS and AP, and a picture of some predictions."""

from typing import Any

import numpy as np
from lightning import Trainer
from PIL import Image
from rich.table import Table
from torch import Tensor

from dla.tasks.pictures import denormalised, grid, shown
from dla.tasks.showcase import Showcase


class BoundaryShowcase(Showcase):
    """The three numbers of the benchmark; input, truth and probability of some validation images."""

    def table(self, trainer: Trainer, values: dict[str, float], title: str) -> Table | None:
        """ODS, OIS and, where it was measured, AP in percent."""
        if "ods" not in values:
            return None
        table = Table("measure", "%", title=title)
        for name in ("ods", "ois", "ap"):
            if name in values:
                table.add_row(name.upper(), f"{100 * values[name]:.2f}")
        return table

    def picture(self, data: Any, model: Any) -> Image.Image:
        """Rows of input, truth (what the annotators merged into) and probability, black for 1."""
        rows = [
            (
                denormalised(item["image"], data),
                _grey(item["mask"] == 1),
                _grey(model.probabilities(images, plain=True)[0, 1]),
            )
            for item, images in shown(data, model)
        ]
        return grid(rows, ("input", "truth", "probability"))


def _grey(values: Tensor) -> np.ndarray:
    ink = (255 * (1 - values.float().cpu().numpy())).round().astype(np.uint8)
    return ink[..., None].repeat(3, axis=-1)
