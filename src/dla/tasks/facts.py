"""What a checkpoint says of a run's network and data, and whether run, data and checkpoint go together."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from lightning import Callback
from lightning.pytorch.callbacks import StochasticWeightAveraging

from dla.data.base import SetData

OPTIONS = {"task": "--model", "model": "--model.network"}


def data_facts(data: Any) -> dict[str, Any]:
    """What the data says of its classes and of how images are normalised; nothing where it is None."""
    if data is None:
        return {}
    facts = {"classes": list(data.classes), "mean": [*map(float, data.mean)], "std": [*map(float, data.std)]}
    if getattr(data, "bands", None) is not None:
        facts["bands"] = [list(band) for band in data.bands]
    if getattr(data, "max_size", None) is not None:
        facts["max_size"] = data.max_size
    return facts | ({"colors": [list(color) for color in data.colors]} if hasattr(data, "colors") else {})


def check_data(data: Any, task: type, kind: str) -> None:
    """Refuse data that is for another task than `task`, which is of this kind.

    Raises:
        ValueError: it names both.
    """
    kinds = getattr(data, "tasks", (kind,))
    if kind not in kinds:
        raise ValueError(
            f"{type(data).__name__} is for {' and '.join(kinds)}, and {task.__name__} for {kind}: take the recipe of "
            "one task for both, or give --model or --data of the other"
        )


def check_channels(data: SetData, in_chans: int) -> None:
    """Refuse data whose images have other channels than the network takes.

    Raises:
        ValueError: it names both.
    """
    channels = len(data.mean)
    if channels != in_chans:
        colours = ", or, where images are not in colour, --data.bands" if data.bands is None else ""
        raise ValueError(
            f"{type(data).__name__} gives images of {channels} channels, and the network takes {in_chans}: give "
            f"--model.options.in_chans {channels}{colours}"
        )


def check_callbacks(callbacks: Sequence[Callback]) -> None:
    """Refuse the one of Lightning's averages of weights whose learning rates the task's schedule would go over.

    Without batch norm, it also writes the average into the network when all checkpoints are written.

    Raises:
        ValueError: it is among them.
    """
    if any(isinstance(callback, StochasticWeightAveraging) for callback in callbacks):
        raise ValueError(
            "StochasticWeightAveraging sets the learning rate, as the task's schedule does, and its average may be in "
            "no checkpoint: give WeightAveraging or EMAWeightAveraging as callback"
        )


def check_facts(there: dict[str, Any], here: dict[str, Any]) -> None:
    """Refuse a checkpoint of another task or network, of other classes, or in another order, or normalised otherwise.

    Args:
        there: what the checkpoint says; of what it does not say nothing is asked.
        here: what one of this run would say.

    Raises:
        ValueError: it names what differs.
    """
    for key, option in OPTIONS.items():
        if there.get(key, here[key]) != here[key]:
            raise ValueError(
                f"the checkpoint's {key} is {there[key]}, and this run's {here[key]}: give another {option}, or "
                "another checkpoint"
            )
    _check_classes(there.get("classes"), here.get("classes"))
    for name in ("bands", "max_size"):
        before, now = there.get(name), here.get(name)
        if "mean" in there and before != now:
            raise ValueError(
                f"the checkpoint's images have the {name} {before}, and the data's {now}: give --data.{name} as its "
                "run had"
            )
    for name in ("mean", "std"):
        before, now = there.get(name), here.get(name)
        if before and now and not np.allclose(before, now, rtol=1e-3):
            raise ValueError(
                f"the checkpoint's images were normalised with the {name} {before}, and the data's are with {now}: "
                "give data that normalises as its own did"
            )


def cut_off(checkpoint: dict[str, Any]) -> str:
    """What going on from a checkpoint leaves out, in words; nothing where its last epoch is whole.

    `max_time` and `max_steps` end a run within an epoch, which Lightning then takes for done.
    """
    loop = checkpoint.get("loops", {}).get("fit_loop", {})
    if not loop or loop["epoch_loop.batch_progress"]["is_last_batch"]:
        return ""
    epochs, batches = loop["epoch_progress"]["current"], loop["epoch_loop.batch_progress"]["current"]
    number = epochs["processed"]
    if number < epochs["started"]:  # written within an epoch that went on
        return ""
    return f"epoch {number} was cut off after {batches['processed']} batches: its rest is left out of this run"


def half_step(checkpoint: dict[str, Any], batches: int) -> str:
    """What going on from a checkpoint leaves out of a step of so many accumulated batches, in words; else nothing.

    It holds no gradients. One of a validation within an epoch is of within a step where that comes between its batches.
    """
    loop = checkpoint.get("loops", {}).get("fit_loop", {})
    if not loop or loop["epoch_loop.batch_progress"]["is_last_batch"]:  # behind which there always is a step
        return ""
    had = loop["epoch_loop.batch_progress"]["current"]["processed"] % batches
    if not had:
        return ""
    return f"the checkpoint is of within a step: the gradients of {had} of its {batches} batches are lost"


def _check_classes(before: list[str] | None, now: list[str] | None) -> None:
    if before is None or now is None or before == now:
        return
    pairs = enumerate(zip_longest(before, now))
    number, names = next((number, pair) for number, pair in pairs if pair[0] != pair[1])
    there, here = ("missing" if name is None else repr(name) for name in names)
    raise ValueError(
        f"the checkpoint has {len(before)} classes and the data {len(now)}; class {number} is {there} in the "
        f"checkpoint and {here} in the data: give data with the checkpoint's classes, in its order"
    )
