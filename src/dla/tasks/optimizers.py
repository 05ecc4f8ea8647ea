"""The optimizers that a job chooses from, what their weight decay takes, and how the rate follows the batch."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from lightning import Trainer
from timm.optim import Lamb, param_groups_weight_decay  # type: ignore[attr-defined]
from torch import nn

Optimizer = Literal["sgd", "adamw", "lamb"]


def make_optimizer(
    modules: Sequence[nn.Module], kind: Optimizer, *, lr: float, momentum: float, weight_decay: float, decay_norms: bool
) -> torch.optim.Optimizer:
    """An optimizer of all parameters of networks and what is trained beside them.

    Args:
        modules: The networks.
        kind: "sgd", "adamw", or "lamb" by timm, which clips the norm of all gradients to 1.
        lr: Learning rate.
        momentum: Of SGD.
        weight_decay: See the next.
        decay_norms: Whether norms and biases decay too; if not, neither does what `model.no_weight_decay()` names,
            where a network has it, as ours and timm's transformers do.
    """
    split = [_groups(module, weight_decay, decay_norms) for module in modules]
    groups = [group for groups in split for group in groups if group["params"]]
    if kind == "sgd":
        return torch.optim.SGD(groups, lr, momentum, weight_decay=weight_decay)
    return {"adamw": torch.optim.AdamW, "lamb": Lamb}[kind](groups, lr, weight_decay=weight_decay)


def _groups(module: nn.Module, weight_decay: float, decay_norms: bool) -> list[dict[str, Any]]:
    if decay_norms:
        return [{"params": list(module.parameters())}]
    named: Any = getattr(module, "no_weight_decay", tuple)()
    return param_groups_weight_decay(module, weight_decay, no_weight_decay_list=named)


def check_optimizer(kind: str, batch_base: int | None, **rates: float) -> None:
    """Refuse what is no optimizer, and numbers that none can use.

    Raises:
        ValueError: it names the optimizer, or the number.
    """
    if kind not in get_args(Optimizer):
        raise ValueError(f"optimizer is {kind!r}; expected one of {', '.join(get_args(Optimizer))}")
    if batch_base is not None and batch_base < 1:
        raise ValueError(f"batch_base is {batch_base}; expected a number of images, or null to take lr as it is")
    for name, rate in rates.items():
        if rate < 0:
            raise ValueError(f"{name} is {rate}; expected a number of at least 0")


def images_a_step(trainer: Trainer) -> int:
    """Training images of one step of the optimizer, over all processes and accumulated batches."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    if data is None:
        raise ValueError(
            "batch_base needs a data module that says its batch_size; without one, set lr and leave it out"
        )
    return data.batch_size * trainer.world_size * trainer.accumulate_grad_batches


def scaled_rate(lr: float, images: int, base: int, kind: Optimizer) -> float:
    """The rate for steps of `images`, where `lr` is that for steps of `base`: in proportion with sgd (Goyal et al.,
    2017), in proportion to the square root with adamw and lamb, as timm has it.
    """
    ratio = images / base
    return lr * (ratio if kind == "sgd" else ratio**0.5)
