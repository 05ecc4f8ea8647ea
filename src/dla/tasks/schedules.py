"""Learning rate schedules as functions of the epoch alone, so that a resumed run has the right rate at once."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, get_args

Schedule = Literal["poly", "cosine", "step", "constant"]


def make_schedule(
    *, schedule: Schedule, power: float, milestones: Sequence[int] | None, gamma: float, warmup: int
) -> Callable[[int, int], float]:
    """`rate_factor` of an epoch and the number of epochs, for settings that fit each other.

    Raises:
        ValueError: there is no such schedule, the step schedule has no milestones, another has some, or the warm-up is
            negative.
    """
    if schedule not in get_args(Schedule):
        raise ValueError(f"schedule is {schedule!r}; expected one of {', '.join(get_args(Schedule))}")
    if (schedule == "step") != bool(milestones):
        raise ValueError(
            f"schedule is {schedule} and milestones {milestones}: the step schedule needs the epochs at which the rate "
            "falls, such as [30, 60, 90], and the others take none"
        )
    if warmup < 0:
        raise ValueError(f"warmup is {warmup}; expected a number of epochs, 0 for none")
    return partial(rate_factor, schedule=schedule, power=power, milestones=milestones or (), gamma=gamma, warmup=warmup)


def rate_factor(
    epoch: int,
    epochs: int,
    *,
    schedule: Schedule = "poly",
    power: float = 0.9,
    milestones: Sequence[int] = (),
    gamma: float = 0.1,
    warmup: int = 0,
) -> float:
    """What the learning rate is multiplied with in `epoch`, counted from 0, of `epochs`.

    "poly" is (1 - epoch / epochs) ** power, "step" is gamma to the number of milestones reached; both as the authors
    trained, once an epoch. "cosine" is half a wave, from 1 to 0. The first `warmup` epochs rise linearly to that.
    """
    if schedule in ("poly", "cosine") and epochs < 1:
        raise ValueError(
            f"the {schedule} schedule ends with the last epoch: give --trainer.max_epochs, not max_steps or -1"
        )
    if schedule == "poly":
        factor = (1 - epoch / epochs) ** power
    elif schedule == "cosine":
        factor = (1 + math.cos(math.pi * epoch / epochs)) / 2
    elif schedule == "step":
        factor = gamma ** sum(epoch >= milestone for milestone in milestones)
    else:
        factor = 1.0
    return factor * min(1.0, (epoch + 1) / (warmup + 1))
