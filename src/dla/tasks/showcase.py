"""What a segmentation run shows when it ends: IoU per class, and a picture of inputs, truths and predictions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table
from torch import Tensor

from dla.files import atomic_write

Color = tuple[int, int, int]
GAP = 4  # pixels between pictures
LEGIBLE = 200  # smaller pictures are enlarged towards this width
CAPTION = 14  # height of the column titles


class Showcase(Callback):
    """At the end of `fit`, print a table of IoU and write `examples.png` to the run's folder.

    Args:
        images: How many validation images to show.
    """

    def __init__(self, images: int = 4) -> None:
        self.images = images

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print and draw, in the first process alone."""
        ious = {
            name.removeprefix("val/iou/"): float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("val/iou/")
        }
        if not trainer.is_global_zero or not ious:
            return
        Console().print(_table(ious, float(trainer.callback_metrics["val/miou"])))
        path = Path(trainer.default_root_dir, "examples.png")
        with atomic_write(path) as partial:
            self._draw(trainer, pl_module).save(partial)
        Console().print(f"input, truth and prediction of {self.images} validation images: {path}", highlight=False)

    @torch.inference_mode()
    def _draw(self, trainer: Trainer, model: LightningModule) -> Image.Image:
        data = trainer.datamodule  # type: ignore[attr-defined]
        rows: list[tuple[np.ndarray, ...]] = []
        model.eval()
        for batch in data.val_dataloader():
            batch = data.on_after_batch_transfer(batch, 0)
            predictions = model(batch["image"].to(model.device)).argmax(1).cpu()
            for image, mask, prediction in zip(batch["image"], batch["mask"], predictions, strict=True):
                picture = _denormalise(image, data.mean, data.std)
                row = (picture, _paint(mask, data.colors), _paint(prediction, data.colors))
                rows.append(tuple(_enlarge(part) for part in row))
            if len(rows) >= self.images:
                break
        return _grid(rows[: self.images], ("input", "truth", "prediction"))


def _table(ious: dict[str, float], miou: float) -> Table:
    table = Table("class", "IoU %", title="validation")
    for name, iou in ious.items():
        table.add_row(name, f"{100 * iou:.1f}")
    table.add_section()
    table.add_row("mean", f"{100 * miou:.1f}")
    return table


def _denormalise(image: Tensor, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    pixels = image.cpu().movedim(0, -1) * torch.tensor(std) + torch.tensor(mean)
    return (255 * pixels).round().clamp(0, 255).byte().numpy()


def _paint(mask: Tensor, colors: Sequence[Color]) -> np.ndarray:
    palette = np.zeros((256, 3), np.uint8)  # what is ignored stays black
    palette[: len(colors)] = colors
    return palette[mask.numpy()]


def _enlarge(picture: np.ndarray) -> np.ndarray:
    factor = max(1, LEGIBLE // picture.shape[1])
    return picture.repeat(factor, 0).repeat(factor, 1)


def _grid(rows: Sequence[Sequence[np.ndarray]], captions: Sequence[str]) -> Image.Image:
    height = max(picture.shape[0] for row in rows for picture in row) + GAP
    width = max(picture.shape[1] for row in rows for picture in row) + GAP
    canvas = Image.new("RGB", (width * len(captions) - GAP, height * len(rows) + CAPTION), "white")
    for j, caption in enumerate(captions):
        ImageDraw.Draw(canvas).text((j * width + 2, 1), caption, fill="black")
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            canvas.paste(Image.fromarray(picture), (j * width, i * height + CAPTION))
    return canvas
