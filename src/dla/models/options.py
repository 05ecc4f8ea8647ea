"""Options of networks that are refused: what is none, and what is given elsewhere."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from inspect import signature
from typing import Any

GIVEN = {
    "num_classes": "the data says how many classes there are",
    "pretrained": "weights are named after a dot, as in dla34.in1k",
}
"""Options that a task's or study's network must not be given, and what gives them instead."""


def expect_options(name: str, options: Iterable[str], *builders: Callable[..., Any], said: Set[str]) -> None:
    """Raise a TypeError where an option is none of any builder, or one that is `said` otherwise."""
    parameters = [parameter for builder in builders for parameter in signature(builder).parameters.values()]
    known = {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY} - said
    if unknown := sorted(set(options) - known):
        raise TypeError(f"{name} has no option {', '.join(unknown)}; it has: {', '.join(sorted(known))}")


def given_channels(options: Mapping[str, Any]) -> int:
    """Channels of the images of a network that is made with these options; of several images, of all."""
    in_chans: int | Sequence[int] = options.get("in_chans", 3)
    return sum(in_chans) if isinstance(in_chans, Sequence) else in_chans


def expect_drop_path_rate(rate: float) -> None:
    """Raise a ValueError where it is no chance: others' networks ignore a negative one, or fail once they train."""
    if not 0 <= rate < 1:
        raise ValueError(f"drop_path_rate must be a chance, at least 0 and below 1, not {rate}")


def check_options(options: Collection[str], where: str = "options") -> None:
    """Refuse options of a network that come from elsewhere.

    Raises:
        ValueError: it names the option, and says `where` it stands.
    """
    for name, instead in GIVEN.items():
        if name in options:
            raise ValueError(f"{where} has {name}: leave it out, since {instead}")
