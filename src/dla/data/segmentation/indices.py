"""What annotations hold, and which class that is: indices from 0 on, values such as 0 and 255, or colours."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias, TypeGuard

import torch
from jaxtyping import UInt8
from torch import Tensor

from dla.data.sample import IGNORE_INDEX
from dla.data.segmentation.labels import read_colors, read_labels
from dla.images import RGB
from dla.names import repeated

Value: TypeAlias = int | RGB
"""What a pixel of an annotation holds: a number from 0 to 255, or red, green and blue."""

Void: TypeAlias = Value | Literal["other"]
"""What it holds where no class is given; "other" is all that is no class."""

NONE = -1  # what is neither a class nor void


class Indices:
    """Reads annotations as class indices; void becomes 255.

    Args:
        classes: Names of the classes, in the order of their indices.
        void: What annotations hold where no class is given; 255, which is no colour, may be a class's where `values`
            says so.
        values: What they hold for each class; None for 0, 1, 2 and so on.

    Raises:
        ValueError: void is a class, or the values are not one for each class, all numbers or all colours.
    """

    def __init__(
        self, classes: Sequence[str], void: Void = IGNORE_INDEX, values: Sequence[Value] | None = None
    ) -> None:
        self.void, self.values = void, [*range(len(classes))] if values is None else list(values)
        if len(self.values) != len(classes) or repeated(str(value) for value in self.values):
            raise ValueError(f"values is {self.values}; expected another for each of the {len(classes)} classes")
        self.painted = are_colors(self.values)
        numbers = [_number(value, self.painted, "values") for value in self.values]
        self.table = torch.full((1 << 24 if self.painted else 256,), NONE, dtype=torch.int16)
        if isinstance(void, str):
            self.table.fill_(IGNORE_INDEX)
        elif void != IGNORE_INDEX or not (self.painted or (values and void in values)):
            self.table[_no_class(_number(void, self.painted, "void"), numbers, classes, void)] = IGNORE_INDEX
        self.table[numbers] = torch.arange(len(classes), dtype=torch.int16)

    def read(self, path: Path) -> UInt8[Tensor, "h w"]:
        """The mask of an annotation.

        Raises:
            ValueError: it cannot be read, or holds something else, which is named.
        """
        labels = read_colors(path) if self.painted else read_labels(path).long()
        mask = self.table[labels]
        other = labels[mask == NONE]
        if other.numel():
            raise ValueError(self._unknown(path, int(other.max())))
        return mask.to(torch.uint8)

    def _unknown(self, path: Path, number: int) -> str:
        count = len(self.values)
        held = f"the color {tuple(number.to_bytes(3, 'big'))}" if self.painted else f"label {number}"
        plain = self.values == [*range(count)]
        expected = f"0 to {count - 1}" if plain else ", ".join(map(str, self.values))
        absent = self.void in self.values or (self.painted and self.void == IGNORE_INDEX)
        void = "" if absent else f", and {self.void} for void"
        return (
            f"{path} holds {held}; expected {expected} for the {count} classes{void}: correct the annotation, name all "
            "classes, or make whatever else void (--data.void other)"
        )


def are_colors(values: Sequence[Value]) -> TypeGuard[Sequence[RGB]]:
    """Whether the values of classes are colours, not numbers."""
    return len(values) > 0 and not isinstance(values[0], int)


def _number(value: Value, painted: bool, name: str) -> int:
    """The value itself, or the number of a colour as `read_colors` gives it."""
    levels = [value] if isinstance(value, int) else list(value)
    if len(levels) != (3 if painted else 1) or not all(0 <= level <= 255 for level in levels):
        expected = "red, green and blue, each" if painted else "what 8 bits hold,"
        raise ValueError(f"{name} holds {value}; expected {expected} 0 to 255")
    return int.from_bytes(bytes(levels), "big")


def _no_class(number: int, numbers: Sequence[int], classes: Sequence[str], void: Value) -> int:
    if number in numbers:
        name = classes[numbers.index(number)]
        raise ValueError(f"void is {void}, that of the class {name}: expected one of no class, 255 or other")
    return number
