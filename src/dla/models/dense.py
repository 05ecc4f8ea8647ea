"""Dense prediction: iterative aggregation from a backbone's maps to scores of every pixel (Section 4.2, Figure 4)."""

from collections.abc import Callable, Sequence
from functools import partial

from jaxtyping import Float
from torch import Tensor, nn

from dla.aggregation import IterativeAggregation, Node
from dla.aggregation.node import NodeFactory
from dla.backbones import Backbone, FeatureSpec
from dla.models.aggregated import Aggregated
from dla.models.blocks import conv_norm, initialise
from dla.models.decoder import Decoder, Size
from dla.models.heads import DenseHead, facts_for
from dla.models.upsample import LearnedUpsample
from dla.recompute import memory_efficient

node3x3 = partial(Node, kernel_size=3)


def projection(in_channels: int, out_channels: int) -> nn.Module:
    """Bring a map to other channels, where they differ: 1x1 convolution, batch norm, ReLU."""
    if in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(conv_norm(in_channels, out_channels, 1), nn.ReLU(inplace=True)).apply(initialise)


class ProjectUp(nn.Module):
    """Bring a map to other channels, where they differ, and to a finer size: 1x1 convolution, learned upsampling."""

    def __init__(
        self, in_channels: int, out_channels: int, factor: int, project: Callable[[int, int], nn.Module] = projection
    ) -> None:
        super().__init__()
        self.project = project(in_channels, out_channels)
        self.upsample = LearnedUpsample(out_channels, factor)

    def forward(self, x: Tensor, size: Size) -> Tensor:
        """(b, in_channels, h, w) -> (b, out_channels, *size)."""
        return self.upsample(self.project(x), size)


class IDA(Decoder):
    """Project every map, upsample all to one size, aggregate them once from the finest on.

    Args:
        specs: channels and strides of the maps, finest first.
        channels: of the projected maps and the result.
        out_stride: of the result; at most the first map's.
    """

    def __init__(self, specs: Sequence[FeatureSpec], *, channels: int = 32, out_stride: int = 2) -> None:
        super().__init__()
        self.out_channels, self.out_stride = channels, out_stride
        self.bring = nn.ModuleList(ProjectUp(spec.channels, channels, spec.stride // out_stride) for spec in specs)
        self.aggregate = IterativeAggregation([channels] * len(specs), channels, node=node3x3)
        self.aggregate.apply(initialise)
        self.step_specs = [FeatureSpec(channels, out_stride)] * len(specs)

    def forward(self, maps: Sequence[Tensor], size: Size) -> list[Tensor]:
        """What stands at every node, from the finest map on: (b, channels, *size) each."""
        return self.aggregate.steps([bring(x, size) for bring, x in zip(self.bring, maps, strict=True)])


class IterativeUp(nn.Module):
    """Bring coarse maps to the channels and size of a fine one, and aggregate: one line of `DLAUp`.

    Args:
        fine: channels and stride of the fine map.
        coarse: of the coarse maps, in the order in which they are fused.
        project: makes what brings a map to other channels, from both numbers.
        node: makes the nodes.
    """

    def __init__(
        self,
        fine: FeatureSpec,
        coarse: Sequence[FeatureSpec],
        *,
        project: Callable[[int, int], nn.Module],
        node: NodeFactory,
    ) -> None:
        super().__init__()
        channels = fine.channels
        self.bring = nn.ModuleList(
            ProjectUp(spec.channels, channels, spec.stride // fine.stride, project) for spec in coarse
        )
        self.aggregate = IterativeAggregation([channels] * (len(coarse) + 1), channels, node=node)

    def forward(self, fine: Tensor, coarse: Sequence[Tensor]) -> list[Tensor]:
        """The fine map, and what it becomes with each coarse map: maps of one size."""
        brought = [up(x, fine.shape[-2:]) for up, x in zip(self.bring, coarse, strict=True)]
        return self.aggregate.steps([fine, *brought])


def concatenating(fine: FeatureSpec, coarse: Sequence[FeatureSpec]) -> IterativeUp:
    """The paper's line: 1x1 projections where channels differ, nodes with 3x3 convolutions of what is concatenated."""
    line = IterativeUp(fine, coarse, project=projection, node=node3x3)
    line.aggregate.apply(initialise)
    return line


class DLAUp(Decoder):
    """IDA again and again: each line fuses its own map with all maps of the line above, upsampled, one after another.

        1/32   x5
        1/16   x4  N
        1/8    x3  N  N
        1/4    x2  N  N  N
        1/2    x1  N  N  N  N ──> out         every N takes what stands left of it, and the map above that, upsampled

    Args:
        specs: channels and strides of the maps, finest first.
        channels: project every map to so many first; None for each line as wide as its own map, as the authors have it.
        out_stride: of the result; at most the first map's, which it is for None.
        line: makes the line that fuses a map with coarser ones, from the specs of both.
    """

    def __init__(
        self,
        specs: Sequence[FeatureSpec],
        *,
        channels: int | None = None,
        out_stride: int | None = None,
        line: Callable[[FeatureSpec, Sequence[FeatureSpec]], nn.Module] = concatenating,
    ) -> None:
        super().__init__()
        self.project = nn.ModuleList(projection(spec.channels, channels or spec.channels) for spec in specs)
        specs = [FeatureSpec(channels or spec.channels, spec.stride) for spec in specs]
        self.out_channels, self.out_stride = specs[0].channels, out_stride or specs[0].stride
        pairs = zip(specs[-2::-1], specs[:0:-1], strict=True)  # (1/16, 1/32), (1/8, 1/16), ...
        self.lines = nn.ModuleList(line(fine, [coarse] * i) for i, (fine, coarse) in enumerate(pairs, start=1))
        self.refine = LearnedUpsample(self.out_channels, specs[0].stride // self.out_stride)
        self.step_specs = [*specs[:0:-1], FeatureSpec(self.out_channels, self.out_stride)]

    def forward(self, maps: Sequence[Tensor], size: Size) -> list[Tensor]:
        """The end of every line, coarsest first; the last, at `size`, is the result."""
        maps = [project(x) for project, x in zip(self.project, maps, strict=True)]
        fused = [maps[-1]]
        ends = [maps[-1]]
        for fine, line in zip(maps[-2::-1], self.lines, strict=True):
            fused = line(fine, fused)
            ends.append(fused[-1])
        return [*ends[:-1], self.refine(ends[-1], size)]


class DensePredictor(Aggregated):
    """Backbone, decoder, head: logits of every pixel at the size of the image, whatever that is.

    Args:
        backbone: gives the maps.
        decoder: fuses them.
        num_classes: scores per pixel.
    """

    def __init__(self, backbone: Backbone, decoder: Decoder, *, num_classes: int) -> None:
        super().__init__(backbone, decoder)
        self.num_classes = num_classes
        self.head = DenseHead(self.out_channels, num_classes, self.out_stride)

    @memory_efficient
    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """Logits (b, classes, h, w)."""
        return self.head(self.forward_features(x), x.shape[-2:])

    def get_classifier(self) -> nn.Module:
        """The last 1x1 convolution."""
        return self.head.classify

    def reset_classifier(self, num_classes: int) -> None:
        """Put a new, untrained head on the network."""
        head = DenseHead(self.out_channels, num_classes, self.out_stride)
        self.num_classes, self.head = num_classes, head.to(self.head.classify.weight).train(self.training)
        self.pretrained_cfg = facts_for(num_classes, self.pretrained_cfg)
