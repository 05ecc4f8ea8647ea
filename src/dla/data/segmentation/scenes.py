"""Synthetic scenes: shapes that overlap, of five classes, lit from one side, with shadows and noise; no download.

    ground texture -> for each shape: its shadow, then its pattern inside its outline -> light -> noise

The class is the outline. Colours say nothing; a pattern says something, but one in ten is drawn from all classes'.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from numpy.typing import NDArray
from torch import Tensor

from dla.data.sample import Sample, Split, make_sample
from dla.data.segmentation.shapes import PATTERNS, SHAPES, Plane
from dla.images import RGB

SPLITS: tuple[Split, ...] = ("train", "val", "test")
OWN_PATTERN = 0.9  # how often a shape wears its class's pattern
RADIUS = (0.16, 0.30)  # of a shape, as a part of the image's side
SHAPE_COUNT = (4, 7)


@dataclass(frozen=True)
class Scene:
    """One picture with the truths of two tasks.

    Attributes:
        image: RGB.
        mask: Class of each pixel, 0 for the ground.
        boundary: Where a pixel belongs to another shape than its right or lower neighbour: lines one pixel wide, also
            between two shapes of one class.
    """

    image: UInt8[Tensor, "3 h w"]
    mask: UInt8[Tensor, "h w"]
    boundary: Bool[Tensor, "h w"]


class Scenes:
    """A set of scenes made on the fly, each by (seed, split, index) alone; items are samples for segmentation.

    Args:
        count: How many scenes the set has.
        size: Side of the images, in pixels, at least 16.
        split: Splits of one seed have no scene in common.
        seed: Seed, at least 0.
    """

    classes: ClassVar[tuple[str, ...]] = ("ground", *(outline.__name__ for outline, _ in SHAPES))
    colors: ClassVar[tuple[RGB, ...]] = (
        (40, 40, 40),
        (230, 90, 60),
        (70, 140, 230),
        (240, 200, 70),
        (90, 190, 110),
        (170, 100, 210),
    )

    def __init__(self, count: int, *, size: int = 96, split: Split = "train", seed: int = 0) -> None:
        if split not in SPLITS:
            raise ValueError(f"no split {split!r} of the scenes; expected one of {', '.join(SPLITS)}")
        if size < 16:
            raise ValueError(f"scenes of {size} pixels have no room for shapes; expected a size of at least 16")
        self.count, self.size, self.split, self.seed = count, size, split, seed

    def __len__(self) -> int:
        """The number of scenes."""
        return self.count

    def __getitem__(self, index: int) -> Sample:
        """Image and mask of scene number `index`."""
        scene = self.scene(index)
        return make_sample(scene.image, scene.mask)

    def scene(self, index: int) -> Scene:
        """Scene number `index` with all its truths; outside 0 to len - 1 raises an IndexError."""
        if not 0 <= index < self.count:
            raise IndexError(f"no scene {index}: the set has scenes 0 to {self.count - 1}")
        rng = np.random.default_rng((self.seed, SPLITS.index(self.split), index))
        picture, mask, shape = _compose(rng, self.size)
        picture = _lit(picture, rng)
        image = torch.from_numpy((255 * picture.clip(0, 1)).astype(np.uint8))  # (3, H, W)
        return Scene(image, torch.from_numpy(mask), torch.from_numpy(_boundary(shape)))


def _compose(rng: np.random.Generator, size: int) -> tuple[Plane, NDArray[np.uint8], NDArray[np.uint8]]:
    """The picture (3, H, W) before light, the class and the number of the shape at each pixel."""
    picture = _ground(rng, size)
    mask, shape = np.zeros((size, size), np.uint8), np.zeros((size, size), np.uint8)
    shadow = rng.uniform(-0.04, 0.04, 2)
    for number in range(1, 1 + rng.integers(*SHAPE_COUNT)):
        kind = int(rng.integers(len(SHAPES)))
        outline, pattern = SHAPES[kind]
        if rng.random() > OWN_PATTERN:
            pattern = PATTERNS[rng.integers(len(PATTERNS))]
        center, radius, angle = rng.uniform(0.08, 0.92, 2), rng.uniform(*RADIUS), rng.uniform(0, 2 * np.pi)
        picture *= 1 - 0.45 * outline(*_place(size, center + shadow, radius, angle))
        u, v = _place(size, center, radius, angle)
        inside = outline(u, v)
        dark, bright = _two_colors(rng)
        weight = pattern(u, v, rng.uniform(2.0, 4.0), rng)
        picture = np.where(inside, dark + (bright - dark) * weight, picture).astype(np.float32)
        mask[inside], shape[inside] = 1 + kind, number
    return picture, mask, shape


def _place(size: int, center: NDArray[np.float64], radius: float, angle: float) -> tuple[Plane, Plane]:
    """The coordinates of a shape with this centre, radius (parts of the side) and turn: -1 to 1 across the shape."""
    columns, rows = (np.arange(size, dtype=np.float32) / size - np.float32(middle) for middle in center)
    cos, sin = np.float32(np.cos(angle) / radius), np.float32(np.sin(angle) / radius)
    return cos * columns + sin * rows[:, None], cos * rows[:, None] - sin * columns


def _two_colors(rng: np.random.Generator) -> tuple[Plane, Plane]:
    """Two colours (3, 1, 1) of any hue, apart enough in brightness for a pattern to be seen."""
    dark, step = rng.uniform(0.05, 0.6, 3), rng.uniform(0.2, 0.4)
    colors = np.stack([dark, dark + step]).astype(np.float32)[:, :, None, None]
    return colors[0], colors[1]


def _ground(rng: np.random.Generator, size: int) -> Plane:
    """Coloured clouds: noise of three grain sizes, each finer one weaker, (3, H, W)."""
    clouds = rng.uniform(0.2, 0.7, (3, 1, 1)).astype(np.float32) + np.zeros((3, size, size), np.float32)
    for cells, strength in ((3, 0.25), (size // 8, 0.12), (size // 2, 0.08)):
        noise = rng.uniform(-strength, strength, (3, cells, cells)).astype(np.float32)
        clouds += _stretched(_stretched(noise, size).transpose(0, 2, 1), size)
    return clouds


def _stretched(noise: Plane, size: int) -> Plane:
    """Rows of noise blended linearly to `size` rows; torch would do it, with threads that small images do not need."""
    place = np.linspace(0, noise.shape[1] - 1, size, dtype=np.float32)
    above = np.minimum(place.astype(int), noise.shape[1] - 2)
    weight = (place - above).astype(np.float32)[:, None]
    return noise[:, above] * (1 - weight) + noise[:, above + 1] * weight


def _lit(picture: Plane, rng: np.random.Generator) -> Plane:
    """Light that falls off from one side to the other, then noise."""
    size = picture.shape[-1]
    rows, columns = np.mgrid[:size, :size].astype(np.float32) / size - 0.5
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.7)
    light = 1 + np.float32(strength) * (np.float32(np.cos(angle)) * columns + np.float32(np.sin(angle)) * rows)
    noise = rng.standard_normal(picture.shape, dtype=np.float32)
    return picture * light + np.float32(rng.uniform(0.02, 0.07)) * noise


def _boundary(shape: NDArray[np.uint8]) -> NDArray[np.bool_]:
    edge = np.zeros(shape.shape, bool)
    edge[:, :-1] |= shape[:, 1:] != shape[:, :-1]
    edge[:-1, :] |= shape[1:, :] != shape[:-1, :]
    return edge
