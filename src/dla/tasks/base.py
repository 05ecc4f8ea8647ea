"""What every job shares: the network by name, what it is trained from, and what a checkpoint says of it."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dla.data.base import SetData
from dla.data.sampling import draw_seed, global_seed
from dla.models.options import check_options, given_channels
from dla.names import parse
from dla.tasks.diverged import check_loss
from dla.tasks.facts import check_callbacks, check_channels, check_data, check_facts, cut_off, data_facts, half_step
from dla.tasks.normalization import adopt, fitting, stated
from dla.tasks.optimized import Optimized
from dla.tasks.precision import check_precision
from dla.tasks.say import say
from dla.tasks.start import start
from dla.weights import completed_options

Batch = dict[str, Any]
"""Tensors by name; what annotators drew of an image comes as a list, since their number differs."""


class Task(Optimized):
    """Builds a network and trains all of it with one optimizer; a subclass gives the loss and the metrics.

    Args:
        network: Name of a network: `dla models` lists ours; BACKBONE+STRUCTURE is any backbone of timm or ours with its
            maps fused by ida, dla_up, fcn, fpn or unet. With a dot and a tag it starts from those weights.
        options: Further options of the network, such as out_stride or out_channels, as `create_model` takes them; they
            win over arguments of the same name.
        num_classes: Given by the data.
        weights: File of weights to start from, or a name of the hub such as timm/dla34.in1k: of the whole network, or
            of the classifier that it stands on. Not beside a network whose name has a tag.
        new_head: Do not take the head from these weights, because the classes are others.
        drop_path_rate: Stochastic depth of the last block.
        grad_checkpointing: Less memory for more time.
        memory_efficient: Our networks compute again what is cheap (`dla.recomputing`) and train in half the memory;
            false keeps all, which is faster; null is true on a CPU and, unless compiled, false on a GPU, where it costs
            more.
        compile: Train through torch.compile, by which recomputing costs no time. It needs a C++ compiler, and takes a
            minute or more at the start. What is not training is not compiled.
        **settings: Of the optimizer and its schedule.

    Raises:
        ValueError: network, options and weights do not go together, or a setting is out of its range.
    """

    kind: str  # what a checkpoint says it does: "segmentation", "boundaries" or "classification"
    monitor: str  # the metric that tells the best checkpoint, the higher the better
    measured: Any = None  # what the last pass over a split found, beside the numbers that are logged
    headline: str  # the same in words

    def __init__(
        self,
        *,
        network: str,
        options: dict[str, Any] | None = None,
        num_classes: int,
        weights: str | None = None,
        new_head: bool = False,
        drop_path_rate: float = 0.0,
        grad_checkpointing: bool = False,
        memory_efficient: bool | None = None,
        compile: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.network = network
        self.num_classes, self.options = int(num_classes), completed_options(self.network, options or {})
        check_options(self.options)
        chosen = {"drop_path_rate": drop_path_rate, "memory_efficient": memory_efficient} | self.options
        begun = start(self.network, num_classes=num_classes, options=chosen, weights=weights, new_head=new_head)
        self.origin, self.untrained = begun.origin, begun.untrained
        self.normalization = fitting(begun.normalization, given_channels(self.options))
        self.model = begun.model.to(memory_format=torch.channels_last)
        _set_grad_checkpointing(self.model, grad_checkpointing, self.network)
        self.last_loss: Tensor | None = None
        self.compiles = compile
        if compile:
            self.model.compile()

    def run(self, images: Float[Tensor, "b c h w"]) -> Any:
        """What the network gives; compiled, if at all, in training alone, whose images all have one size."""
        images = self.laid_out(images)
        if not self.compiles or self.training:
            return self.model(images)
        with torch.compiler.set_stance("force_eager"):
            return self.model(images)

    def laid_out(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """As the network computes: channels last, and in its own precision where that is not mixed, as bf16-true."""
        return images.to(self.dtype).contiguous(memory_format=torch.channels_last)

    def trained(self) -> list[nn.Module]:
        """The network alone."""
        return [self.model]

    def on_train_start(self) -> None:
        """Say with which weights it starts, how images are normalised, and what became of the learning rate."""
        if self.origin:
            say(self.trainer, self.origin)
        if self.normalization:
            mean, std = self.normalization
            say(self.trainer, f"images are normalised as these weights expect, by the mean {mean} and std {std}")
        super().on_train_start()

    def on_train_epoch_start(self) -> None:
        """Set this epoch's learning rate; the last epoch is measured, whatever the epochs between are."""
        super().on_train_epoch_start()
        if self.current_epoch + 1 == self.trainer.max_epochs and self.trainer.check_val_every_n_epoch:
            self.trainer.check_val_every_n_epoch = 1

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the random state, so that a step drops the same paths whether or not the run was resumed before it.

        Raises:
            ValueError: see `dla.tasks.precision.check_precision`.
        """
        check_precision(self.trainer.precision, batch["image"], self.options.get("stem_stride", 4))
        torch.manual_seed(draw_seed(global_seed() + self.global_rank, self.current_epoch, batch_idx))

    def log_metrics(self, split: str) -> None:
        """Log what the steps of a split counted, and count anew."""
        raise NotImplementedError

    def on_validation_epoch_end(self) -> None:
        """Log what was counted."""
        self.log_metrics("val")

    def on_test_epoch_end(self) -> None:
        """Log what was counted."""
        self.log_metrics("test")

    def on_validation_start(self) -> None:
        """See that there is something to measure."""
        check_loss(self.last_loss, self.current_epoch)

    def on_train_epoch_end(self) -> None:
        """See that there is something to keep."""
        check_loss(self.last_loss, self.current_epoch)

    @property
    def measuring(self) -> bool:
        """Whether this is `validate`; `trainer.validating` also holds within `fit`, between its epochs."""
        return self.trainer.state.fn == "validate"

    def log_loss(self, loss: Tensor, batch: Batch) -> Tensor:
        """Log the training loss, averaged over the epoch, and return it."""
        count = len(batch["image"])
        self.last_loss = loss.detach()
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=count, sync_dist=True)
        return loss

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is needed to use the network without this class."""
        checkpoint["dla"] = self.facts()

    def facts(self) -> dict[str, Any]:
        """What a checkpoint says of the network and its data."""
        return {
            "task": self.kind,
            "model": parse(self.network).untagged,  # the tag names weights that are trained away by now
            "options": self.options,
            "num_classes": self.num_classes,
            **self.data_facts(),
        }

    def setup(self, stage: str) -> None:
        """Refuse callbacks, and data of another task or of other channels, that do not go with the task.

        Images are normalised as the weights of its start expect.

        Raises:
            ValueError: it names what does not.
        """
        check_callbacks(self.trainer.callbacks)  # type: ignore[attr-defined]
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        check_data(data, type(self), self.kind)
        if isinstance(data, SetData):
            check_channels(data, given_channels(self.options))
        adopt(data, self.normalization)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another task or network, or of other classes than the data has, or in another order.

        Images are normalised as it says from now on. Say what is lost of an epoch or a step that was cut off.

        Raises:
            ValueError: it names what differs.
        """
        there = checkpoint.get("dla", {})
        adopt(self.trainer.datamodule, stated(there))  # type: ignore[attr-defined]
        check_facts(there, self.facts())
        lost = cut_off(checkpoint) or half_step(checkpoint, self.trainer.accumulate_grad_batches)
        if self.trainer.state.fn == "fit" and lost:
            say(self.trainer, f"warning: {lost}")

    def data_facts(self) -> dict[str, Any]:
        """What the data module says, see `dla.tasks.facts.data_facts`."""
        return data_facts(self.trainer.datamodule)  # type: ignore[attr-defined]


def _set_grad_checkpointing(model: nn.Module, checkpoints: bool, network: str) -> None:
    """Have a network trade time for memory, or not; where it is asked for, it must be able to."""
    setter: Any = getattr(model, "set_grad_checkpointing", None)
    if setter is None and checkpoints:
        raise ValueError(f"{network} has no set_grad_checkpointing: leave out grad_checkpointing")
    try:
        if setter is not None:
            setter(checkpoints)
    except AssertionError as error:  # how timm's models say that they cannot
        raise ValueError(f"{network} cannot checkpoint: leave out grad_checkpointing") from error
