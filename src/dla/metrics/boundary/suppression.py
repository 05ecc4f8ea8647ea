"""Non-maximum suppression of a soft boundary map: what is left is the crest, one pixel wide but where it is level."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Real, UInt8

from dla.metrics.boundary.thinning import thin

RIDGE = 4  # radius of the smoothing before the orientation is taken
ROUNDING = 1e-5  # by which an average of probabilities may exceed 1
CURVATURE = 1e-5  # keeps the orientation defined where there is no curvature
STRIP = 1024  # rows that are looked at together, since they take more than a hundred bytes a pixel meanwhile


@dataclass(frozen=True)
class Suppression:
    """How a map is suppressed; `PRESETS` names the two ways in use.

    Args:
        smooth: Whether the map is smoothed first, by a triangle of radius 1.
        radius: How far to look on either side of a ridge, in pixels, at least 1.
        margin: A pixel stays unless its value times this is below what lies beside it.
        border: Width of the ramp, in pixels, over which values fall to 0 at the border of the image; at most half of
            the image's shorter side.

    Raises:
        ValueError: `radius` is below 1, `margin` not above 0, or `border` below 0.
    """

    smooth: bool = True
    radius: int = 1
    margin: float = 1.01
    border: int = 5

    def __post_init__(self) -> None:
        if self.radius < 1 or not self.margin > 0 or self.border < 0:
            raise ValueError(f"{self}: expected a radius of at least 1, a positive margin and a border of at least 0")


PRESETS = {"hed": Suppression(), "rcf": Suppression(smooth=False, radius=2)}


def suppress(edges: Real[np.ndarray, "h w"], how: Suppression = PRESETS["hed"]) -> UInt8[np.ndarray, "h w"]:
    """The crest of a soft boundary map with values in [0, 1], in 8 bits: 255 stands for 1.

    The orientation of a ridge is that of the second derivatives of the map, smoothed by a triangle of radius 4. A pixel
    stays where it is not below its neighbours across the ridge, interpolated bilinearly at 1, ..., `radius` pixels.

    Raises:
        ValueError: the map is narrower or lower than 2 pixels, or holds values outside [0, 1] or NaN.
    """
    if min(edges.shape) < 2:
        raise ValueError(f"a map of {edges.shape[1]}x{edges.shape[0]} has no orientation: expected 2 pixels or more")
    check_range(edges)
    border = min(how.border, *(side // 2 for side in edges.shape))
    down, across = (_ramp(side, border) for side in edges.shape)
    reach = 1 + max(RIDGE + 2, how.radius)  # rows beside a strip that count: smoothing, then second derivatives
    strips = []
    for top in range(0, len(edges), STRIP):
        above = min(top, reach)
        crest = _crest(edges[top - above : top + STRIP + reach], how)[above : above + STRIP]
        ramps = down[top : top + STRIP, None] * across
        strips.append(np.floor(255 * crest * ramps + 0.5).astype(np.uint8))
    return np.concatenate(strips)


def check_range(edges: Real[np.ndarray, "h w"]) -> None:
    """See that a map holds probabilities.

    Raises:
        ValueError: it holds values outside [0, 1] or NaN.
    """
    if np.isnan(edges).any():
        raise ValueError("the map holds NaN: expected values in [0, 1]")
    if edges.size and (edges.min() < -ROUNDING or edges.max() > 1 + ROUNDING):
        raise ValueError(f"the map holds {edges.min():g} to {edges.max():g}: expected values in [0, 1]; scale it")


def thin_crest(edges: Real[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """What `suppress` leaves, one pixel wide throughout, to be looked at.

    Suppression keeps a level ridge at its whole width, and places where the map is flat. The benchmark does not mind,
    since it thins at each threshold.

    Raises:
        ValueError: the map is narrower or lower than 2 pixels, or holds values outside [0, 1] or NaN.
    """
    crest = suppress(edges)
    return np.where(thin(crest > 0), crest, np.uint8(0))


def _crest(edges: Real[np.ndarray, "h w"], how: Suppression) -> Float[np.ndarray, "h w"]:
    """The values on the crest, 0 elsewhere."""
    edges = edges.astype(np.float64)
    if how.smooth:
        edges = _smooth(edges, 1)
    return np.where(_is_crest(edges, how), edges, 0)


def _is_crest(edges: Float[np.ndarray, "h w"], how: Suppression) -> np.ndarray:
    from scipy.ndimage import map_coordinates

    orientation = _orientation(edges)
    steps = np.array([step for step in range(-how.radius, how.radius + 1) if step])[:, None, None]
    rows, columns = np.indices(edges.shape)
    beside = np.stack([rows + steps * np.sin(orientation), columns + steps * np.cos(orientation)])
    neighbours = map_coordinates(edges, beside, order=1, mode="nearest")
    return (edges * how.margin >= neighbours).all(axis=0)


def _orientation(edges: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """The direction across the ridge, in [0, pi), from the horizontal towards the bottom."""
    by_row, by_column = np.gradient(_smooth(edges, RIDGE))
    (yy, xy), xx = np.gradient(by_row), np.gradient(by_column, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):  # 0/0, a flat place, is made 0 below
        slope = yy * np.sign(-xy) / (xx + CURVATURE)
    return np.mod(np.arctan(np.nan_to_num(slope, nan=0, posinf=np.inf, neginf=-np.inf)), np.pi)


def _smooth(edges: Float[np.ndarray, "h w"], radius: int) -> Float[np.ndarray, "h w"]:
    """A triangle filter along both axes; the image is mirrored at its borders."""
    from scipy.ndimage import convolve1d

    triangle = np.concatenate([np.arange(1, radius + 2), np.arange(radius, 0, -1)]) / (radius + 1) ** 2
    return convolve1d(convolve1d(edges, triangle, axis=0, mode="reflect"), triangle, axis=1, mode="reflect")


def _ramp(length: int, border: int) -> Float[np.ndarray, " length"]:
    """0 at the border, 1 from `border` pixels on."""
    if not border:
        return np.ones(length)
    inward = np.minimum(np.arange(length), np.arange(length)[::-1])
    return np.minimum(inward / border, 1)
