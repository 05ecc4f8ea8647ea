"""What a decoder has to know of a backbone's feature maps, their channels and strides, and how some are chosen."""

from collections.abc import Sequence
from itertools import pairwise
from numbers import Integral
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class FeatureSpec(NamedTuple):
    """One map of a backbone: how many channels it has, and how many input pixels one of its pixels stands for."""

    channels: int
    stride: int


def map_size(images: Float[Tensor, "b c h w"], stride: int) -> tuple[int, int]:
    """Height and width of the images' map of this stride: ceil(side / stride)."""
    height, width = images.shape[-2:]  # below, not -(-height // stride), which ONNX and ncnn would round towards zero
    return (height + stride - 1) // stride, (width + stride - 1) // stride


def take_indices(count: int, indices: int | Sequence[int] | None) -> list[int]:
    """Indices of the chosen among `count` maps: all for None, the last n for an int, negative ones from the end."""
    if indices is None:
        return list(range(count))
    if isinstance(indices, str):
        raise ValueError(f"out_indices is {indices!r}; expected a number of feature maps, or a list of their indices")
    if isinstance(indices, Integral):  # numpy's as well
        indices = int(indices)
    if not isinstance(indices, int) and not all(isinstance(i, Integral) for i in indices):
        raise ValueError(f"out_indices is {indices!r}; expected whole numbers")
    chosen = range(count - indices, count) if isinstance(indices, int) else [i + count if i < 0 else i for i in indices]
    if (isinstance(indices, int) and indices < 1) or any(not 0 <= i < count for i in chosen):
        raise ValueError(
            f"there are {count} feature maps: {indices!r} is neither a number nor a list of indices of them"
        )
    return sorted(set(chosen))


def choose(strides: Sequence[int], indices: int | Sequence[int] | None, finest: int) -> list[int]:
    """Like `take_indices` of maps of these strides, but None stands for those of stride `finest` or more.

    Raises:
        ValueError: no map is chosen.
    """
    coarse = [i for i, stride in enumerate(strides) if stride >= finest]
    chosen = take_indices(len(strides), coarse if indices is None else indices)
    if not chosen:
        remedy = "give a finer out_stride" if indices is None else "name some in out_indices"
        raise ValueError(f"of the backbone's maps, of strides {list(strides)}, none is chosen: {remedy}")
    return chosen


def check_specs(specs: Sequence[FeatureSpec]) -> list[FeatureSpec]:
    """The specs, where a decoder can fuse their maps.

    Raises:
        ValueError: there are fewer than two maps, a finer one comes after a coarser one, or a stride is not the one
            before it times a power of two.
    """
    strides = [spec.stride for spec in specs]
    if len(strides) < 2:
        raise ValueError(
            f"the backbone gives maps of strides {strides}, and fusing needs at least two: choose more by out_indices, "
            "or a finer out_stride; dla.backbones.SimplePyramid makes several of one"
        )
    for fine, coarse in pairwise(strides):
        if coarse < fine:
            raise ValueError(f"maps come finest first, but these have strides {strides}: return them in reverse order")
        if coarse % fine or not is_power_of_two(coarse // fine):
            raise ValueError(
                f"the backbone gives maps of strides {strides}, and {coarse} is not {fine} times a power of two: "
                "leave one of the two maps out"
            )
    return list(specs)


def is_power_of_two(value: int) -> bool:
    """1, 2, 4, 8, ..."""
    return value > 0 and value & (value - 1) == 0
