"""Arrange the blocks of a trained network's stages in trees, and begin at what the network computes."""

import sys
from numbers import Integral, Real
from typing import Any, NamedTuple

from torch import nn

from dla.aggregation import IdentityNode
from dla.costs import parameters
from dla.networks import copied
from dla.rewire.families import ends_in_relu, norm_of, stage_specs
from dla.rewire.stage import RewiredStage, StageSpec

STRUCTURES = ("hda", "ida", "hda+ida")


class Rewiring(NamedTuple):
    """What `rewire` has done: a rewired model carries it as `model.rewiring`."""

    structure: str
    nodes: int
    node_widths: dict[str, int | None]  # of each rewired stage; None: no bottleneck
    parameters: int  # of the plain network
    added: int

    @property
    def overhead(self) -> float:
        """Parameters added, as a share of the plain network's."""
        return self.added / self.parameters

    def __str__(self) -> str:
        widths = ", ".join(f"{name} {width or 'full'}" for name, width in self.node_widths.items())
        return (
            f"rewired ({self.structure}): {self.nodes} nodes, {self.parameters / 1e6:.2f} M parameters "
            f"+ {self.added / 1e6:.2f} M ({self.overhead:.1%}); node widths: {widths}"
        )


def rewire(
    model: nn.Module,
    *,
    structure: str = "hda",
    node_width: int | None = None,
    max_overhead: float = 0.15,
    verbose: bool = True,
) -> nn.Module:
    """A copy of a timm network with its blocks aggregated, which computes the same until it is trained.

    Load pretrained weights first. The nodes are residual on the last block's output and begin as the identity on it
    (`IdentityNode`), in evaluation and in training. The result is still timm's class: `forward_features`, the feature
    wrappers, `reset_classifier` and `group_matcher` work, and the blocks' keys in the state dict are as before. With
    `set_grad_checkpointing`, a stage of a ResNet, EfficientNet or MobileNet runs again as a whole, and its batch norms
    count each batch twice in their running statistics, as timm's do.

    Args:
        model: a ResNet, ResNeXt, RegNet, ConvNeXt, EfficientNet or MobileNet (2 to 4) of timm.
        structure: "hda" aggregates the blocks within each stage in a merged tree (Figure 1f); "ida" gives each stage
            but the first a node over its max-pooled input and its output; "hda+ida" does both, with one shared last
            node (Figure 2). A tree needs two blocks, all of as many channels; a stage for which no node results stays
            as it is.
        node_width: channels between the two 1x1 convolutions of each node; None for the widest, a multiple of 8, that
            keeps to `max_overhead`, or one convolution where that one does.
        max_overhead: with `node_width=None`, parameters that nodes may add to a stage, as a share of the stage's own;
            `math.inf` for no bottleneck.
        verbose: print the parameters added to standard error. The same stands in `model.rewiring`.

    Raises:
        ValueError: an argument has no such value, the network is of another family or is rewired already, or no node
            results or fits.
    """
    if structure not in STRUCTURES:
        raise ValueError(f"structure must be 'hda', 'ida' or 'hda+ida', not {structure!r}")
    if node_width is not None and (
        isinstance(node_width, bool) or not isinstance(node_width, Integral) or node_width < 1
    ):
        raise ValueError(f"node_width must be a whole number of at least 1, or None, not {node_width!r}")
    if not isinstance(max_overhead, Real) or not max_overhead > 0:  # nor NaN
        raise ValueError(f"max_overhead must be a share of a stage's parameters, such as 0.15, not {max_overhead!r}")
    specs = [spec for spec in stage_specs(model, structure) if spec.blocks and spec.node_inputs()]
    if not specs:
        raise ValueError(f"nothing to aggregate by {structure!r}: no stage has two blocks; 'ida' needs two stages")
    rewired: Any = copied(model)
    widths = {}
    for spec in specs:
        stage = rewired.get_submodule(spec.name)
        widths[spec.name] = node_width or _width_within(max_overhead, spec, parameters(stage))
        rewired.set_submodule(spec.name, _rewire_stage(stage, spec, widths[spec.name]))
    before, nodes = parameters(model), sum(len(spec.node_inputs()) for spec in specs)
    rewired.rewiring = Rewiring(structure, nodes, widths, before, parameters(rewired) - before)
    if verbose:
        print(f"{type(model).__name__} {rewired.rewiring}", file=sys.stderr)
    return rewired


def _rewire_stage(stage: nn.Module, spec: StageSpec, width: int | None) -> RewiredStage:
    signed = not all(ends_in_relu(stage.get_submodule(name)) for name in spec.blocks)
    nodes = nn.ModuleList(
        IdentityNode(
            inputs,
            spec.channels,
            width=width,
            signed=signed,
            norm=norm_of(stage),
            activation=nn.GELU if signed else nn.ReLU,
        )
        for inputs in spec.node_inputs()
    )
    like = next(stage.parameters())
    return RewiredStage(stage, spec, nodes.to(like.device, like.dtype))


def _width_within(share: float, spec: StageSpec, whole: int) -> int | None:
    """The widest bottleneck whose nodes have at most this share of a stage's parameters; None: none is needed."""
    inputs = spec.node_inputs()
    room = share * whole - 3 * spec.channels * len(inputs)  # norms and gains
    if sum(map(sum, inputs)) * spec.channels <= room:
        return None
    width = int(room // sum(sum(channels) + spec.channels for channels in inputs))
    if width < 1:
        raise ValueError(
            f"max_overhead={share} leaves no room for the nodes of {spec.name}: allow more, or give node_width"
        )
    return width - width % 8 if width >= 8 else width
