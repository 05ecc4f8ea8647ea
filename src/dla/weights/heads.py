"""Which of a model's heads are to stay as they were built when weights are loaded."""

from collections.abc import Collection

PREFIXES = ("head.", "heads.")  # of the heads' names in our networks


def head_name(key: str) -> str:
    """The name of the head that a tensor is of: "hm" of "heads.hm.0.weight", "head" of "head.fc.weight"."""
    return key.removeprefix("heads.").partition(".")[0]


def new_heads(asked: bool | Collection[str], known: Collection[str]) -> set[str]:
    """Names of the heads that stay as they were built: all that are `known`, none, or those named.

    Raises:
        ValueError: one that is named is not known.
    """
    if isinstance(asked, bool):
        return set(known) if asked else set()
    named = {asked} if isinstance(asked, str) else set(asked)
    if unknown := named - set(known):
        there = ", ".join(sorted(known)) or "none"
        raise ValueError(f"new_head names {', '.join(sorted(unknown))}, but the heads are {there}: name some of these")
    return named
