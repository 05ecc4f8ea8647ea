"""What became of each tensor when weights were loaded, and the error where one found no place."""

from collections.abc import Sequence
from dataclasses import dataclass


class WeightsError(ValueError):
    """The weights do not fit the model, or the file cannot be read."""


@dataclass(frozen=True)
class LoadReport:
    """Where the weights came from and where they went; each name is in one place alone.

    Attributes:
        layout: whose names the weights had, such as "timm".
        mapped: the weights' name of each tensor of the model that was loaded, by the model's name.
        ignored: the weights' names of what nothing in the model reads: layers that the authors' networks never use,
            frozen upsampling, counters of norms that are fixed, what the model was built without, and heads in whose
            place it has new ones.
        reinitialised: the model's names of its heads that are as they were built, as `new_head` asked.
        untouched: the model's names of what a classifier's weights do not hold: a decoder and its head.
        nodes: the model's names of the nodes of a rewired network, where the weights are from before it was rewired:
            they change nothing until they are trained.
        stems: the model's names of the stems of further images, where the weights are of a network of one image.
        subtracted: the weights' names of biases before batch norm, which our networks lack: they are in its mean.
        adapted: the weights' names of convolutions over colours, which the model has over another number of channels.
        beside: names of what stood beside the network in a training program, and was not taken.
    """

    layout: str
    mapped: dict[str, str]
    ignored: tuple[str, ...] = ()
    reinitialised: tuple[str, ...] = ()
    untouched: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    stems: tuple[str, ...] = ()
    subtracted: tuple[str, ...] = ()
    adapted: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line per group, with a few names of each."""
        lines = [f"{len(self.mapped)} tensors loaded, layout: {self.layout}"]
        groups = [
            ("ignored because unused", self.ignored),
            ("left as built because a new head was asked for", self.reinitialised),
            ("untouched because the weights are a classifier's", self.untouched),
            ("of the nodes between its blocks, which change nothing until they are trained", self.nodes),
            ("left as built because the weights are of a network of one image", self.stems),
            ("biases subtracted from the means of the norms behind them", self.subtracted),
            ("made for red, green and blue, fitted to the model's channels", self.adapted),
            ("not taken because they stand beside the network", self.beside),
        ]
        return "\n".join(lines + [f"{len(names)} {what}: {shortened(names)}" for what, names in groups if names])


def shortened(names: Sequence[str]) -> str:
    """The first five names in a row."""
    return f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
