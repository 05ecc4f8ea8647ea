"""What argparse takes for a number; its own complaint about a text that is none would name a function of ours."""

import argparse
import math


def number(text: str, kind: type[float] | type[int], *, zero: bool = False) -> float:
    """The positive number that `text` says, whole where `kind` is int; or 0 where `zero` allows it.

    Raises:
        ArgumentTypeError: it says none.
    """
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not (0 < value < math.inf or (zero and value == 0)):
        what = f"{'' if zero else 'positive '}{'whole ' if kind is int else ''}number{' of at least 0' if zero else ''}"
        raise argparse.ArgumentTypeError(f"{text!r} is not a {what}")
    return value
