"""Images of a run in one picture: of validation beside what the network makes of them, of training with their truth."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from PIL import Image, ImageDraw
from torch import Tensor

from dla.bands import visible
from dla.data.sample import Split
from dla.data.sampling import Draw
from dla.images import RGB, draw_legend, without_accents

SHOWN = 4  # validation images in the picture
TRAINED = 8  # training images
GAP = 4  # pixels between pictures
LEGIBLE, LARGEST = 200, 2048  # smaller pictures are enlarged towards this width, larger ones reduced to that side
CAPTION = 14  # height of the column titles

Name = tuple[str, RGB]


def shown(
    data: Any, model: LightningModule, split: Split = "val", images: Sequence[int] | None = None
) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    """Items of a split of a data module, and the batch of the image alone: `images`, or `SHOWN` that are evenly spread.

    Of an item, `image` is (c, h, w), and so on without the batch's dimension; the batch is on the model's device.
    """
    dataset = data.whole(split)
    for batch in _batches(data, dataset, evenly(len(dataset), SHOWN) if images is None else images):
        item = {key: values[0] for key, values in batch.items()}
        yield item, batch["image"].to(model.device)


def trained(data: Any) -> list[dict[str, Tensor]]:
    """Up to `TRAINED` training items of a data module, evenly spread, as the network gets them; of a stream none.

    Of fewer images that an epoch repeats there are several views.
    """
    if data.streams:
        return []
    dataset = data.training()
    # Not spread over all repeats: a step of nearly one repeat, as of seven, would come upon the same images again.
    once = max(len(dataset) // data.repeat, min(TRAINED, len(dataset)))
    batches = _batches(data, dataset, evenly(once, TRAINED))
    return [{key: values[0] for key, values in batch.items()} for batch in batches]


def evenly(length: int, most: int) -> list[int]:
    """At most so many indices of so many, from the first to the last."""
    return np.linspace(0, length - 1, min(most, length)).round().astype(int).tolist()


def _batches(data: Any, dataset: Any, images: Sequence[int]) -> Iterator[dict[str, Tensor]]:
    """Batches of one image each, without a loader, which in a run of several processes has a part of the set."""
    for index in images:
        yield data.on_after_batch_transfer(data.collate([dataset[Draw(0, index)]]), 0)


def denormalised(image: Tensor, data: Any) -> np.ndarray:
    """An image (c, h, w) that the data module normalised, as 8-bit RGB (h, w, 3) again."""
    pixels = image.cpu().movedim(0, -1) * torch.tensor(data.std) + torch.tensor(data.mean)
    return visible((255 * pixels).round().clamp(0, 255).byte().movedim(-1, 0)).movedim(0, -1).numpy()


def pairs(images: Sequence[tuple[np.ndarray, np.ndarray]], names: Sequence[Name] = ()) -> Image.Image:
    """Training images and their truths, two of each in a row."""
    columns = min(2, len(images))
    rows = [sum(images[i : i + columns], ()) for i in range(0, len(images) - columns + 1, columns)]
    return grid(rows, columns * ("training image", "truth"), names)


def grid(
    rows: Iterable[Sequence[np.ndarray]],
    captions: Sequence[str],
    names: Sequence[Name] = (),
    titles: Sequence[str] = (),
) -> Image.Image:
    """Rows of pictures (h, w, 3) under captions, at a size to look at, with a legend of names at the right.

    Where there are titles, each row has one above it. Of large pictures, rows that are made as they are asked for are
    not all in memory at once.
    """
    rows = [[_legible(picture) for picture in row] for row in rows]
    room = CAPTION if titles else 0
    height = max(picture.shape[0] for row in rows for picture in row) + GAP + room
    width = max(picture.shape[1] for row in rows for picture in row) + GAP
    legend = draw_legend(480, names) if names else Image.new("RGB", (1, 1))
    size = (len(captions) * width + legend.width, max(height * len(rows) + CAPTION, legend.height))
    canvas = Image.new("RGB", size, "white")
    if names:
        canvas.paste(legend, (len(captions) * width, CAPTION))
    draw = ImageDraw.Draw(canvas)
    for i, title in enumerate(titles):
        draw.text((2, i * height + CAPTION + 1), without_accents(title), fill="black")
    for j, caption in enumerate(captions):
        draw.text((j * width + 2, 1), caption, fill="black")
        for i, row in enumerate(rows):
            canvas.paste(Image.fromarray(row[j]), (j * width, i * height + CAPTION + room))
    return canvas


def _legible(picture: np.ndarray) -> np.ndarray:
    """Small pictures enlarged by repeating pixels, large ones reduced by leaving out: the colours of a mask stay."""
    height, width = picture.shape[:2]
    step = -(-max(height, width) // LARGEST)
    factor = max(1, min(LEGIBLE // width, LARGEST // height))
    return picture[::step, ::step].repeat(factor, 0).repeat(factor, 1)
