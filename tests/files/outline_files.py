"""Sets whose labels are outlines, as files in the forms of COCO, LabelMe and YOLO."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from image_files import random_image, save_image

from dla.cli import main

HEIGHT, WIDTH = 36, 48


def box(left: float, top: float, right: float, bottom: float) -> list[float]:
    """A rectangle as a polygon."""
    return [left, top, right, top, right, bottom, left, bottom]


def rectangles(*drawn: tuple[int, int, int, int, int], on: int = 0) -> np.ndarray:
    """Rectangles of a class each, as left, top, right, bottom behind it."""
    mask = np.full((HEIGHT, WIDTH), on)
    for index, left, top, right, bottom in drawn:
        mask[top:bottom, left:right] = index
    return mask


def save_outlines(
    path: Path,
    images: Sequence[tuple[str, Sequence[dict[str, Any]]]],
    categories: Sequence[str] = ("crack", "stain"),
    folder: Path | None = None,
) -> dict[str, Any]:
    """Write the labels: of each image its name and annotations; numbers and whatever they lack is filled in.

    Args:
        path: of the file; its folder is made.
        images: their annotations have a `category_id`, which counts from 1, and a `segmentation`.
        categories: names.
        folder: where images of random pixels are written; None for none.

    Returns:
        What was written.
    """
    content: dict[str, Any] = {"images": [], "annotations": []}
    content["categories"] = [{"id": number, "name": name} for number, name in enumerate(categories, 1)]
    for number, (name, annotations) in enumerate(images):
        content["images"].append({"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH})
        for annotation in annotations:
            own = {"id": len(content["annotations"]), "image_id": number, "iscrowd": 0}
            content["annotations"].append(own | annotation)
        if folder is not None:
            save_image(folder / name, random_image(number, HEIGHT, WIDTH))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return content


def labelme_shape(label: str, points: Sequence[Sequence[float]], kind: str = "polygon", **more: Any) -> dict[str, Any]:
    """A shape as LabelMe writes it."""
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}} | more


def save_labelme(folder: Path, *images: list[dict[str, Any]], **more: Any) -> None:
    """Images of random pixels, and beside each what LabelMe would write of the shapes on it."""
    for number, shapes in enumerate(images):
        name = f"{number:02}.png"
        save_image(folder / name, random_image(number, HEIGHT, WIDTH))
        content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": name, "imageData": None}
        content |= {"imageHeight": HEIGHT, "imageWidth": WIDTH} | more
        (folder / name).with_suffix(".json").write_text(json.dumps(content), encoding="utf-8")


def yolo_line(category: Any, left: float, top: float, right: float, bottom: float) -> str:
    """A rectangle in pixels as a line of YOLO's labels."""
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]]) / [WIDTH, HEIGHT]
    return " ".join([str(category), *(f"{part:.6f}" for part in corners.ravel())])


def save_yolo(root: Path, *labels: str | None, split: str = "train", names: str = "names: [crack, stain]\n") -> None:
    """Images of random pixels with YOLO's labels, the lines of a file each; None writes no file."""
    (root / "labels" / split).mkdir(parents=True, exist_ok=True)
    (root / "data.yaml").write_text(names)
    for number, lines in enumerate(labels):
        save_image(root / "images" / split / f"{number:02}.png", random_image(number, HEIGHT, WIDTH))
        if lines is not None:
            (root / "labels" / split / f"{number:02}.txt").write_text(lines)


def fit(root: Path, *data: str) -> int:
    """Have `dla fit` train a step on a set in `root`, where its run is kept."""
    model = ["--model=dla.tasks.SegmentationTask", "--model.network=dla46_cup"]
    trainer = ["max_epochs=1", "limit_train_batches=1", f"default_root_dir={root / 'run'}", "accelerator=cpu"]
    small = [f"--data.root={root}", "--data.crop=32", "--data.workers=0", "--data.batch_size=2"]
    return main(["fit", *model, *data, *small, *(f"--trainer.{option}" for option in trainer)])
