"""Sizes of images that are seen larger or smaller than they are."""

from collections.abc import Sequence


def scaled(size: Sequence[int], scale: float) -> list[int]:
    """A size (h, w) in pixels, each side by a factor, and at least 1."""
    return [max(1, round(side * scale)) for side in size]


def reduction(size: Sequence[int], longest: int | None) -> float:
    """The factor of an image of a size (h, w) by which no side of it has more pixels than `longest`; at most 1."""
    return min(1.0, longest / max(size)) if longest else 1.0
