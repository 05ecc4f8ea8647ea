"""Numbers on command lines."""

import argparse
import math
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

Kind = TypeVar("Kind", int, float)


def number(text: str, kind: Callable[[str], Kind], *, zero: bool = False) -> Kind:
    """The positive number that `text` says, whole where `kind` is int; or 0 where `zero` allows it.

    For argparse, whose own complaint about a text that is none would name a function of ours.

    Raises:
        ArgumentTypeError: it says no such number.
    """
    with suppress(ValueError):
        value = kind(text)
        if 0 < value < math.inf or (zero and value == 0):
            return value
    what = f"{'' if zero else 'positive '}{'whole ' if kind is int else ''}number{' of at least 0' if zero else ''}"
    raise argparse.ArgumentTypeError(f"{text!r} is not a {what}")


def any_amount(text: str) -> float:
    """The number that `text` says, negative or not, but neither NaN nor infinity, which JSON has no words for.

    Raises:
        ArgumentTypeError: it says no such number.
    """
    with suppress(ValueError):
        if math.isfinite(value := float(text)):
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is not a number")


count, count_or_0 = partial(number, kind=int), partial(number, kind=int, zero=True)
amount, amount_or_0 = partial(number, kind=float), partial(number, kind=float, zero=True)
"""What `type` of an argument may be: whole numbers from 1 or 0 on, numbers above 0 or from 0 on."""
