"""What a segmentation run shows: what it is about to do, IoU per class, and a picture of some predictions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table
from torch import Tensor

from dla.files import atomic_write
from dla.images import RGB, draw_legend

GAP = 4  # pixels between pictures
LEGIBLE = 200  # smaller pictures are enlarged towards this width
CAPTION = 14  # height of the column titles


class Showcase(Callback):
    """Prints a table of IoU whenever measuring ends; after training, writes `examples.png` to the run's folder.

    Args:
        images: How many validation images to show, evenly spread over the split.
    """

    def __init__(self, images: int = 4) -> None:
        self.images = images

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what is trained, and where the results go."""
        parameters = sum(p.numel() for p in pl_module.parameters()) / 1e6
        _say(
            trainer,
            f"{parameters:.1f} M parameters, {trainer.num_training_batches} batches an epoch, {pl_module.device}, "
            f"precision {trainer.precision}; results in {trainer.default_root_dir}",
        )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print and draw what the last epoch's network does."""
        if "val/miou" not in trainer.callback_metrics:
            _say(trainer, f"nothing was measured: validation runs every {trainer.check_val_every_n_epoch} epochs")
            return
        _print_table(trainer, "val", "validation, last epoch")
        for callback in trainer.checkpoint_callbacks:
            if getattr(callback, "monitor", None) and callback.best_model_score is not None:  # type: ignore[attr-defined]
                best = 100 * float(callback.best_model_score)  # type: ignore[attr-defined]
                _say(trainer, f"best: {best:.1f} % {pl_module.headline}, {callback.best_model_path}")  # type: ignore[attr-defined]
        if trainer.is_global_zero and _data(trainer) and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            rows = self._rows(_data(trainer), pl_module)
            path = Path(trainer.default_root_dir, "examples.png")
            with atomic_write(path) as partial:
                _grid(rows, _data(trainer)).save(partial)
            _say(trainer, f"input, truth and prediction of {len(rows)} validation images: {path}")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print what `validate` measured."""
        if trainer.state.fn == "validate":
            _print_table(trainer, "val", "validation")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print what `test` measured."""
        _print_table(trainer, "test", "test")

    @torch.no_grad()
    def _rows(self, data: Any, model: LightningModule) -> list[Sequence[np.ndarray]]:
        loader = data.val_dataloader()
        count = len(loader.dataset)
        wanted = set(np.linspace(0, count - 1, min(self.images, count)).round().astype(int).tolist())
        rows: list[Sequence[np.ndarray]] = []
        model.eval()
        for batch in loader:
            batch = data.on_after_batch_transfer(batch, 0)
            for image, mask, index in zip(batch["image"], batch["mask"], batch["index"], strict=True):
                if int(index) in wanted:
                    prediction = model(image[None].to(model.device)).argmax(1)[0].cpu()
                    picture = _denormalise(image, data.mean, data.std)
                    row = (picture, _paint(mask, data.colors), _paint(prediction, data.colors))
                    rows.append([_enlarge(part) for part in row])
        return rows


def _data(trainer: Trainer) -> Any:
    return trainer.datamodule  # type: ignore[attr-defined]


def _say(trainer: Trainer, text: str) -> None:
    if trainer.is_global_zero:
        Console(soft_wrap=True).print(text, highlight=False, markup=False)


def _print_table(trainer: Trainer, split: str, title: str) -> None:
    values = {name: float(value) for name, value in trainer.callback_metrics.items()}
    prefix = f"{split}/iou/"
    if not trainer.is_global_zero or not any(name.startswith(prefix) for name in values):
        return
    table = Table("class", "IoU %", title=title)
    for name in _data(trainer).classes if _data(trainer) else range(len(values)):
        if f"{prefix}{name}" in values:
            table.add_row(str(name), f"{100 * values[f'{prefix}{name}']:.2f}")
    table.add_section()
    table.add_row("mean IoU", f"{100 * values[f'{split}/miou']:.2f}")
    table.add_row("pixel accuracy", f"{100 * values[f'{split}/accuracy']:.2f}")
    Console().print(table)


def _denormalise(image: Tensor, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    pixels = image.cpu().movedim(0, -1) * torch.tensor(std) + torch.tensor(mean)
    return (255 * pixels).round().clamp(0, 255).byte().numpy()


def _paint(mask: Tensor, colors: Sequence[RGB]) -> np.ndarray:
    palette = np.zeros((256, 3), np.uint8)  # what is ignored stays black
    palette[: len(colors)] = colors
    return palette[mask.cpu().numpy()]


def _enlarge(picture: np.ndarray) -> np.ndarray:
    factor = max(1, LEGIBLE // picture.shape[1])
    return picture.repeat(factor, 0).repeat(factor, 1)


def _grid(rows: Sequence[Sequence[np.ndarray]], data: Any) -> Image.Image:
    height = max(picture.shape[0] for row in rows for picture in row) + GAP
    width = max(picture.shape[1] for row in rows for picture in row) + GAP
    names = [*zip(data.classes, data.colors, strict=True), ("void", (0, 0, 0))]
    legend = draw_legend(480, names)
    size = (3 * width + legend.width, max(height * len(rows) + CAPTION, legend.height))
    canvas = Image.new("RGB", size, "white")
    canvas.paste(legend, (3 * width, CAPTION))
    for j, caption in enumerate(("input", "truth", "prediction")):
        ImageDraw.Draw(canvas).text((j * width + 2, 1), caption, fill="black")
        for i, row in enumerate(rows):
            canvas.paste(Image.fromarray(row[j]), (j * width, i * height + CAPTION))
    return canvas
