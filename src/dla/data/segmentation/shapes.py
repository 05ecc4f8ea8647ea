"""What the synthetic scenes are drawn with: five outlines and five patterns, over a grid of coordinates."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Plane: TypeAlias = NDArray[np.floating]  # (H, W), or (3, H, W) where it is a picture

# Outlines: from coordinates u (right) and v (down), both -1 to 1 across the shape, to what lies inside.


def disc(u: Plane, v: Plane) -> NDArray[np.bool_]:
    """A full circle."""
    return u * u + v * v < 0.8


def ring(u: Plane, v: Plane) -> NDArray[np.bool_]:
    """A circle with a hole, through which one sees what lies behind."""
    square = u * u + v * v
    return (square < 1) & (square > 0.3)


def rectangle(u: Plane, v: Plane) -> NDArray[np.bool_]:
    """A rectangle of 4 by 3."""
    return (np.abs(u) < 0.88) & (np.abs(v) < 0.66)


def triangle(u: Plane, v: Plane) -> NDArray[np.bool_]:
    """An equilateral triangle, point up."""
    return (v < 0.6) & (1.732 * np.abs(u) - v < 1.2)


def star(u: Plane, v: Plane) -> NDArray[np.bool_]:
    """A star of five points: the sector of each point, mirrored onto its half, ends at a straight edge."""
    sector = 2 * np.pi / 5
    angle = np.arctan2(v, u)
    angle = np.abs((angle + sector / 2) % sector - sector / 2)  # 0 at a point, sector / 2 in the notch between two
    inner = 0.5
    edge = np.array([1 - inner * np.cos(sector / 2), inner * np.sin(sector / 2)], dtype=np.float32)
    radius = 1.1 * edge[1] / (edge[1] * np.cos(angle) + edge[0] * np.sin(angle))
    return u * u + v * v < radius * radius


# Patterns: from the same coordinates, a frequency and a generator to values between 0 and 1.


def dome(u: Plane, v: Plane, frequency: float, rng: np.random.Generator) -> Plane:
    """Brighter towards one point, like a ball under a lamp."""
    lamp = rng.uniform(-0.5, 0.5, 2)
    return np.exp(-0.25 * frequency * ((u - lamp[0]) ** 2 + (v - lamp[1]) ** 2))


def spokes(u: Plane, v: Plane, frequency: float, rng: np.random.Generator) -> Plane:
    """A few broad rays from the centre."""
    return 0.5 + 0.5 * np.sin(np.round(frequency) * np.arctan2(v, u) + rng.uniform(0, 6.28))


def checks(u: Plane, v: Plane, frequency: float, rng: np.random.Generator) -> Plane:
    """A chess board."""
    shift = rng.uniform(0, 6.28, 2)
    return 0.5 + 0.5 * np.sign(np.sin(3 * frequency * u + shift[0]) * np.sin(3 * frequency * v + shift[1]))


def stripes(u: Plane, v: Plane, frequency: float, rng: np.random.Generator) -> Plane:
    """Fine parallel waves."""
    return 0.5 + 0.5 * np.sin(7 * frequency * u + rng.uniform(0, 6.28))


def grains(u: Plane, v: Plane, frequency: float, rng: np.random.Generator) -> Plane:
    """Every pixel by itself, dark or bright."""
    return rng.integers(0, 2, u.shape).astype(np.float32)


Outline: TypeAlias = Callable[[Plane, Plane], NDArray[np.bool_]]
Pattern: TypeAlias = Callable[[Plane, Plane, float, np.random.Generator], Plane]

# Each outline with the pattern that it wears more often than the others.
SHAPES: tuple[tuple[Outline, Pattern], ...] = (
    (disc, dome),
    (ring, spokes),
    (rectangle, checks),
    (triangle, stripes),
    (star, grains),
)
PATTERNS: tuple[Pattern, ...] = tuple(pattern for _, pattern in SHAPES)
