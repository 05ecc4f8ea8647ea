"""Where the parts of a split are within a set's folder."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from dla.data.sample import Split

SPELLINGS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""What programs that export sets, and publishers, call the splits."""


def split_place(root: str | Path, place: str, split: Split) -> Path:
    """A file or folder within the root, in whose name {split} stands for a split, as it is spelled there.

    Where there is none, it is the split's own name.
    """
    return split_places(root, [place], split)[0]


def split_places(root: str | Path, places: Sequence[str], split: Split) -> list[Path]:
    """Several of which all is one split: spelled alike where they can be, else each as by `split_place`.

    Images in val, where masks are in validation, may be of another set beside one that is called validation, too.
    """
    spelled = [[Path(root, place.replace("{split}", name)) for place in places] for name in SPELLINGS[split]]
    alike = next((paths for paths in spelled if all(path.exists() for path in paths)), None)
    return alike or [next((path for path in paths if path.exists()), paths[0]) for paths in zip(*spelled, strict=True)]


def expect_own_place(option: str, place: str, held: bool) -> None:
    """Refuse a place that is the same for all splits, unless val is held out of it.

    Raises:
        ValueError: it is.
    """
    if "{split}" not in place and not held:
        raise ValueError(
            f"{option} is {place}, the same for all splits: put {{split}} into it, which stands for train, val and "
            "test, or give --data.hold_out true to train and to validate"
        )


def warn_of_val(root: str | Path, place: str) -> None:
    """Where val is held out of train, say so if there is a val split of its own, which then is not read."""
    given = split_place(root, place, "val")
    if "{split}" in place and given.exists():
        warnings.warn(
            f"{given} is not read: with hold_out a tenth of train validates instead; leave that out, as by "
            "--data.hold_out false, to validate on what is there",
            stacklevel=2,
        )
