"""What annotations hold, and which class that is: indices from 0 on, or values of one's own such as 0 and 255."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from dla.data.sample import IGNORE_INDEX
from dla.names import repeated

NONE = -1  # what is neither a class nor void


class Indices:
    """Makes class indices of what annotations hold; void becomes 255.

    Args:
        classes: Names of the classes, in the order of their indices.
        void: What annotations hold where no class is given; 255 may be a class's where `values` says so.
        values: What they hold for each class; None for 0, 1, 2 and so on.

    Raises:
        ValueError: void is a class, or the values are not one for each class, from 0 to 255.
    """

    def __init__(self, classes: Sequence[str], void: int = IGNORE_INDEX, values: Sequence[int] | None = None) -> None:
        self.void, self.values = void, [*range(len(classes))] if values is None else list(values)
        if len(self.values) != len(classes) or repeated(map(str, self.values)):
            raise ValueError(f"values is {self.values}; expected another for each of the {len(classes)} classes")
        if not all(0 <= value <= 255 for value in self.values):
            raise ValueError(f"values is {self.values}; expected what 8 bits hold, 0 to 255")
        if void in self.values and (values is None or void != IGNORE_INDEX):
            name = classes[self.values.index(void)]
            raise ValueError(f"void is {void}, the index of the class {name}: expected one of no class, or 255")
        self.table = torch.full((256,), NONE, dtype=torch.int16)
        if 0 <= void <= 255:
            self.table[void] = IGNORE_INDEX
        self.table[self.values] = torch.arange(len(classes), dtype=torch.int16)

    def __call__(self, labels: UInt8[Tensor, "h w"], path: Path) -> UInt8[Tensor, "h w"]:
        """The mask of what an annotation holds.

        Raises:
            ValueError: it holds something else, which is named, and so is `path`.
        """
        mask = self.table[labels.long()]
        other = labels[mask == NONE]
        if other.numel():
            count = len(self.values)
            plain = self.values == [*range(count)]
            expected = f"0 to {count - 1}" if plain else ", ".join(map(str, self.values))
            raise ValueError(
                f"{path} holds label {int(other.max())}; expected {expected} for the {count} classes, and {self.void} "
                "for void: correct the annotation or name all classes"
            )
        return mask.to(torch.uint8)
