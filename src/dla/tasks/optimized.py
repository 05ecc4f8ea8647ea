"""How a job is optimized: one optimizer over all that is trained, and a rate that follows schedule and batch."""

import torch
from lightning import LightningModule
from torch import nn

from dla.tasks.optimizers import Optimizer, check_optimizer, images_a_step, make_optimizer, scaled_rate
from dla.tasks.say import say
from dla.tasks.schedules import Schedule, make_schedule


class Optimized(LightningModule):
    """Trains the modules of `trained` with one optimizer.

    Args:
        optimizer: sgd, as the authors trained; adamw, which gets further in a short run (lr 0.003); or lamb, for large
            batches.
        lr: Learning rate of the first epoch.
        batch_base: Images of a step for which `lr` is meant. The rate then follows the actual ones, batch size times
            processes times accumulated batches: in proportion with sgd, by the square root with adamw and lamb. Null
            takes `lr` as it is.
        momentum: Of SGD.
        weight_decay: Of all parameters, but see the next.
        decay_norms: Whether norms and biases decay too, as the authors had it.
        schedule: Poly, cosine, step or constant, once an epoch.
        power: Of the poly schedule.
        milestones: Epochs at which the step schedule multiplies the rate with gamma.
        gamma: See milestones.
        warmup: Epochs over which the rate rises at the start.

    Raises:
        ValueError: a number is out of its range, or the schedule and its milestones do not fit; the message says which.
    """

    def __init__(
        self,
        *,
        optimizer: Optimizer = "sgd",
        lr: float = 0.01,
        batch_base: int | None = None,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        decay_norms: bool = True,
        schedule: Schedule = "poly",
        power: float = 0.9,
        milestones: list[int] | None = None,
        gamma: float = 0.1,
        warmup: int = 0,
    ) -> None:
        super().__init__()
        check_optimizer(optimizer, batch_base, lr=lr, momentum=momentum, weight_decay=weight_decay)
        self.optimizer, self.lr, self.batch_base = optimizer, float(lr), batch_base  # NumPy's are no plain values
        self.momentum, self.weight_decay, self.decay_norms = float(momentum), float(weight_decay), decay_norms
        self.rate_factor = make_schedule(
            schedule=schedule, power=power, milestones=milestones, gamma=gamma, warmup=warmup
        )

    def trained(self) -> list[nn.Module]:
        """The modules whose parameters are optimized."""
        raise NotImplementedError

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One optimizer over all that is trained."""
        return make_optimizer(
            self.trained(),
            self.optimizer,
            lr=self.full_rate(),
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            decay_norms=self.decay_norms,
        )

    def full_rate(self) -> float:
        """The learning rate that the schedule multiplies, for the images of a step of this run."""
        if self.batch_base is None:
            return self.lr
        return scaled_rate(self.lr, images_a_step(self.trainer), self.batch_base, self.optimizer)

    def on_train_start(self) -> None:
        """Say what became of the learning rate, where it follows the batch."""
        if self.batch_base is not None:
            images = images_a_step(self.trainer)
            rates = f"{self.lr:.4g} for {self.batch_base}, so {self.full_rate():.4g} at full height"
            say(self.trainer, f"{images} images a step over {self.trainer.world_size} processes: lr {rates}")

    def on_train_epoch_start(self) -> None:
        """Set this epoch's learning rate."""
        lr = self.full_rate() * self.rate_factor(self.current_epoch, self.trainer.max_epochs or -1)
        for group in self.optimizers().param_groups:  # type: ignore[union-attr]
            group["lr"] = lr
        self.log("train/lr", lr, sync_dist=True)
