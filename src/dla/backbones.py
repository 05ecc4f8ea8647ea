"""What a decoder has to know of a backbone's feature maps, their channels and strides, and how some are chosen."""

from collections.abc import Sequence
from typing import NamedTuple


class FeatureSpec(NamedTuple):
    """One map of a backbone: how many channels it has, and how many input pixels one of its pixels stands for."""

    channels: int
    stride: int


def take_indices(count: int, indices: int | Sequence[int] | None) -> list[int]:
    """Indices of the chosen among `count` maps: all for None, the last n for an int, negative ones from the end."""
    if indices is None:
        return list(range(count))
    chosen = range(count - indices, count) if isinstance(indices, int) else [i + count if i < 0 else i for i in indices]
    if (isinstance(indices, int) and indices < 1) or any(not 0 <= i < count for i in chosen):
        raise ValueError(
            f"there are {count} feature maps: {indices!r} is neither a number nor a list of indices of them"
        )
    return sorted(set(chosen))
