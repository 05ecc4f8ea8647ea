"""Non-maximum suppression: parity with a slow and plain writing, and what it does to ridges."""

import math

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter
from skimage.morphology import thin

from dla.metrics.boundary import suppression
from dla.metrics.boundary.suppression import PRESETS, Suppression, suppress, thin_crest


def soft_map(seed: int, height: int = 41, width: int = 54) -> np.ndarray:
    """A few blurred lines and noise."""
    rng = np.random.default_rng(seed)
    image = Image.new("L", (width, height))
    for _ in range(6):
        points = [tuple(rng.integers(0, (width, height)).tolist()) for _ in range(2)]
        ImageDraw.Draw(image).line(points, fill=255, width=2)
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(2)), dtype=float)
    return np.clip(blurred / blurred.max() + 0.05 * rng.random((height, width)), 0, 1)


def triangle(values: list[list[float]], radius: int) -> list[list[float]]:
    def mirrored(row: list[float], index: int) -> float:
        return row[-index - 1] if index < 0 else row[2 * len(row) - 1 - index] if index >= len(row) else row[index]

    def along(rows: list[list[float]]) -> list[list[float]]:
        taps = [(shift, (radius + 1 - abs(shift)) / (radius + 1) ** 2) for shift in range(-radius, radius + 1)]
        return [[sum(mirrored(row, i + shift) * tap for shift, tap in taps) for i in range(len(row))] for row in rows]

    return turned(along(turned(along(values))))


def turned(rows: list[list[float]]) -> list[list[float]]:
    return [list(column) for column in zip(*rows, strict=True)]


def slope(rows: list[list[float]]) -> list[list[float]]:
    """Along each row: half the difference of the neighbours, one-sided at the ends."""
    last = len(rows[0]) - 1
    ends = [(max(i - 1, 0), min(i + 1, last)) for i in range(last + 1)]
    return [[(row[right] - row[left]) / (right - left) for left, right in ends] for row in rows]


def plain(edges: np.ndarray, how: Suppression) -> np.ndarray:
    """Pixel by pixel, in the words of the definition."""
    e = triangle(edges.tolist(), 1) if how.smooth else edges.tolist()
    height, width = edges.shape
    wide = triangle(e, 4)
    by_x, by_y = slope(wide), turned(slope(turned(wide)))
    xx, xy, yy = slope(by_x), slope(by_y), turned(slope(turned(by_y)))

    def between(y: float, x: float) -> float:
        y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
        top, left = min(int(y), height - 2), min(int(x), width - 2)
        down, right = y - top, x - left
        upper = e[top][left] * (1 - right) + e[top][left + 1] * right
        lower = e[top + 1][left] * (1 - right) + e[top + 1][left + 1] * right
        return upper * (1 - down) + lower * down

    result = np.zeros(edges.shape, dtype=np.uint8)
    border = min(how.border, height // 2, width // 2)
    for y in range(height):
        for x in range(width):
            sign = (xy[y][x] < 0) - (xy[y][x] > 0)
            angle = math.atan(yy[y][x] * sign / (xx[y][x] + 1e-5)) % math.pi
            steps = [step for step in range(-how.radius, how.radius + 1) if step]
            beside = [between(y + step * math.sin(angle), x + step * math.cos(angle)) for step in steps]
            if all(how.margin * e[y][x] >= other for other in beside):
                ramp = 1.0
                for place in (y, x, height - 1 - y, width - 1 - x):
                    ramp *= min(1, place / border) if border else 1
                result[y, x] = int(255 * e[y][x] * ramp + 0.5)
    return result


@pytest.mark.parametrize(
    "how", [*PRESETS.values(), Suppression(smooth=False, radius=3, margin=0.9, border=0)], ids=["hed", "rcf", "own"]
)
@pytest.mark.parametrize("shape", [(41, 54), (12, 9), (6, 40), (40, 8)])
def test_equals_a_plain_writing(how, shape):
    for seed in range(2):
        edges = soft_map(seed, *shape)
        ours, expected = suppress(edges, how), plain(edges, how)
        assert ours.dtype == np.uint8
        assert shape != (41, 54) or (expected > 0).any()
        # Rounding may turn a value at one half, or a comparison of equals, the other way.
        assert (ours != expected).mean() < (0.002 if shape == (41, 54) else 0.02)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("degrees", [0, 30, 45, 60, 89, 91, 120, 150])
def test_a_ridge_keeps_its_crest(preset, degrees):
    """Exactly level ridges, of 90 degrees, are left out: without any mixed derivative they have no orientation."""
    angle, (rows, columns) = math.radians(degrees), np.indices((41, 41)) - 20
    away = columns * math.cos(angle) + rows * math.sin(angle)
    kept = suppress(np.exp(-(away**2) / 8), PRESETS[preset])[6:-6, 6:-6] > 0
    away = np.abs(away[6:-6, 6:-6])
    assert not kept[away > 1.1].any()
    assert kept[away < 0.3].all()


def test_a_thin_crest_is_one_pixel_wide():
    """A level bar ends in a line; nothing appears that suppression removed, and values stay."""
    edges = np.zeros((40, 60))
    edges[12:28, 8:52] = 0.8
    wide, crest = suppress(edges), thin_crest(edges)
    assert (wide > 0).sum(axis=0)[20:40].min() > 5
    assert (crest > 0).sum(axis=0)[20:40].tolist() == [1] * 20
    edges = soft_map(3)
    wide, crest = suppress(edges), thin_crest(edges)
    assert crest.dtype == np.uint8
    assert (crest[crest > 0] == wide[crest > 0]).all()
    blocks = np.lib.stride_tricks.sliding_window_view(crest > 0, (3, 3))
    assert not blocks.all(axis=(2, 3)).any()
    assert (crest > 128).sum() > 0.9 * thin(wide > 128).sum()  # what is weak beside a strong ridge does not move it


def test_the_two_presets():
    assert PRESETS["hed"] == Suppression(smooth=True, radius=1)
    assert PRESETS["rcf"] == Suppression(smooth=False, radius=2)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("rows", [1, 7, 40])
def test_strips_are_as_one(monkeypatch, preset, rows):
    edges = soft_map(3)
    together = suppress(edges, PRESETS[preset])
    monkeypatch.setattr(suppression, "STRIP", rows)
    np.testing.assert_array_equal(suppress(edges, PRESETS[preset]), together)


def test_values_fall_to_zero_at_the_border():
    flat = suppress(np.ones((20, 30)), Suppression(smooth=False))
    assert flat[10].tolist() == [0, 51, 102, 153, 204, *[255] * 20, 204, 153, 102, 51, 0]
    assert suppress(np.ones((20, 30)), Suppression(border=0)).min() == 255


@pytest.mark.parametrize("shape", [(2, 2), (2, 9), (7, 3), (11, 11)])
def test_small_maps(shape):
    assert suppress(np.random.default_rng(0).random(shape)).shape == shape


def test_an_empty_map_stays_empty():
    assert not suppress(np.zeros((20, 21))).any()


def test_senseless_parameters_are_refused():
    for wrong in ({"radius": 0}, {"margin": 0.0}, {"border": -1}):
        with pytest.raises(ValueError, match="expected a radius of at least 1"):
            Suppression(**wrong)
    with pytest.raises(ValueError, match="a map of 1x5 has no orientation"):
        suppress(np.zeros((5, 1)))
