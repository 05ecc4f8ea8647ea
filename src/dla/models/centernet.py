"""CenterNet's DLA-34: a decoder that adds maps under deformable convolutions, and a head per task (Zhou et al., 2019).

The paper's decoder with three changes: its nodes add where ours concatenate, its projections and nodes are 3x3
deformable convolutions, and after `DLAUp` one more iterative aggregation fuses the ends of its lines:

    1/32   x5
    1/16   x4  N               ──> y4 ─┐
    1/8    x3  N  N            ──> y3 ─┤
    1/4    x2  N  N  N         ──> y2 ─┴─ N  N ──> heads
"""

from collections.abc import Mapping, Sequence
from functools import partial

from jaxtyping import Float
from torch import Tensor, nn

from dla.backbones import Backbone, FeatureSpec
from dla.models.aggregated import Aggregated
from dla.models.blocks import conv_norm
from dla.models.decoder import Decoder, Size
from dla.models.deformable import DeformableConv
from dla.models.dense import DLAUp, IterativeUp
from dla.models.map_heads import map_heads
from dla.recompute import memory_efficient

DETECTION = {"hm": 80, "wh": 2, "reg": 2}  # of COCO: a heatmap per class, the box's size, the centre's offset


def conv_layer(in_channels: int, out_channels: int, *, deformable: bool) -> nn.Sequential:
    """A 3x3 convolution, deformable or plain, batch norm and ReLU."""
    if deformable:
        layer = nn.Sequential(DeformableConv(in_channels, out_channels), nn.BatchNorm2d(out_channels))
    else:
        layer = conv_norm(in_channels, out_channels, 3)
    return layer.append(nn.ReLU(inplace=True))


class SumNode(nn.Module):
    """`N(x1, ..., xn) = relu(BN(W * (x1 + ... + xn)))`: inputs of equal channels share one 3x3 convolution."""

    def __init__(self, in_channels: Sequence[int], out_channels: int, *, deformable: bool) -> None:
        super().__init__()
        if len(set(in_channels)) > 1:
            raise ValueError(f"a node that adds needs inputs of equal channels, not {list(in_channels)}")
        self.layer = conv_layer(in_channels[0], out_channels, deformable=deformable)

    def forward(self, inputs: Sequence[Float[Tensor, "b k h w"]]) -> Float[Tensor, "b c h w"]:
        """Combine the inputs, in any order."""
        return self.layer(sum(inputs[1:], inputs[0]))


class CenterNetUp(Decoder):
    """`DLAUp` with nodes that add, then one iterative aggregation over the ends of its lines, finest first.

    Args:
        specs: channels and strides of the maps, finest first; the result is like the first.
        deformable: deformable convolutions; plain ones otherwise.
    """

    def __init__(self, specs: Sequence[FeatureSpec], *, deformable: bool = True) -> None:
        super().__init__()
        self.out_channels, self.out_stride = specs[0]
        line = partial(
            IterativeUp,
            project=partial(conv_layer, deformable=deformable),
            node=partial(SumNode, deformable=deformable),
        )
        self.up = DLAUp(specs, line=line)
        self.final = line(specs[0], specs[1:-1])
        self.step_specs = [*self.up.step_specs, *[specs[0]] * len(specs[1:-1])]

    def forward(self, maps: Sequence[Tensor], size: Size) -> list[Tensor]:
        """The ends of `DLAUp`'s lines, coarsest first, then what stands at every further node."""
        ends = self.up(maps, size)
        return [*ends[:-1], *self.final(ends[-1], ends[-2:0:-1])]


class CenterNet(Aggregated):
    """Backbone, decoder, and for each task a head of its own: maps at the decoder's stride.

    Args:
        backbone: gives the maps.
        decoder: fuses them.
        heads: channels of each map by its name; one whose name holds "hm" is a heatmap.
        head_channels: of the layer between the fused map and a head's output; 0 for none.

    Raises:
        ValueError: a head's name cannot be a module's, or channels are too few.
    """

    def __init__(
        self,
        backbone: Backbone,
        decoder: Decoder,
        heads: Mapping[str, int] = DETECTION,
        *,
        head_channels: int = 256,
    ) -> None:
        super().__init__(backbone, decoder)
        self.heads = map_heads(self.out_channels, heads, head_channels)

    @memory_efficient
    def forward(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:  # type: ignore[override]
        """Maps (b, channels, ceil(h / 4), ceil(w / 4)) by their heads' names; heatmaps before the sigmoid."""
        fused = self.forward_features(x)
        return {name: head(fused) for name, head in self.heads.items()}
