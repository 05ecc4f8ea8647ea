"""How many pixels each class has, and how much those of rare classes are to weigh in the loss."""

from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dla.data.loading import read_each
from dla.data.sample import IGNORE_INDEX


def count_pixels(
    dataset: Any, classes: int, shown: str = "", *, part: int = 0, parts: int = 1
) -> Int[Tensor, " {classes}"]:
    """How many pixels of a set each class has; void does not count.

    Args:
        dataset: The set, of items with a mask.
        classes: How many there are.
        shown: What stands beside a bar, which goes once all is read; no bar where it is empty.
        part: Of several processes, the number of this one, which counts every image of number `part` modulo `parts`.
        parts: How many processes share the set.
    """
    places = range(part, len(dataset), parts)
    total = torch.zeros(IGNORE_INDEX + 1, dtype=torch.int64)
    for counts in read_each(partial(_count, dataset), places, shown):
        total += counts
    return total[:classes]


def _count(dataset: Any, place: int) -> Int[Tensor, " values"]:
    return torch.bincount(dataset[place]["mask"].flatten(), minlength=IGNORE_INDEX + 1)


def balanced(counts: Int[Tensor, " classes"]) -> Float[Tensor, " classes"]:
    """Weights of classes by 1 / sqrt(their share of the pixels), so that the median of those that occur weighs 1.

    A class a hundredth as frequent as another weighs ten times as much, and all its pixels together a tenth: rare
    classes are learned, and frequent ones not drowned. A class without pixels weighs 1.
    """
    rarity = counts.double().rsqrt()
    there = counts > 0
    return (rarity / rarity[there].median()).where(there, 1.0).float()
