"""What deep aggregation is compared with on equal terms: FCN, FPN and U-Net, which start from the coarsest map."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from dla.backbones import FeatureSpec
from dla.models.blocks import conv_norm, initialise
from dla.models.centernet import SumNode
from dla.models.decoder import Decoder, Size
from dla.models.dense import node3x3, projection
from dla.models.upsample import LearnedUpsample


class Sum(nn.Module):
    """A map plus the coarser one brought to its size; nothing is learned."""

    def forward(self, inputs: Sequence[Float[Tensor, "b c h w"]]) -> Float[Tensor, "b c h w"]:
        """Add two maps."""
        return inputs[0] + inputs[1]


class TopDown(Decoder):
    """From the coarsest map on: upsample what is fused so far to the size of the next finer map, and join that.

        1/32   x4 ──L──┐
        1/16   x3 ──L──N──┐
        1/8    x2 ──L─────N──┐
        1/4    x1 ──L────────N──> out         the shallowest map passes through a single node

    Args:
        specs: channels and strides of the maps, finest first.
        laterals: L, from each map's channels to `channels`.
        nodes: N, one fewer than maps, the coarsest first; each takes [finer map, fused so far].
        channels: of all fused maps.
        out_stride: of the result; at most the first map's, which it is for None.
    """

    def __init__(
        self,
        specs: Sequence[FeatureSpec],
        laterals: Sequence[nn.Module],
        nodes: Sequence[nn.Module],
        *,
        channels: int,
        out_stride: int | None,
    ) -> None:
        super().__init__()
        self.out_channels, self.out_stride = channels, out_stride or specs[0].stride
        self.laterals, self.nodes = nn.ModuleList(laterals), nn.ModuleList(nodes)
        strides = [spec.stride for spec in specs]
        self.upsample = nn.ModuleList(
            LearnedUpsample(channels, coarse // fine)
            for fine, coarse in zip(strides[-2::-1], strides[:0:-1], strict=True)
        )
        self.refine = LearnedUpsample(channels, strides[0] // self.out_stride)
        self.step_specs = [FeatureSpec(channels, stride) for stride in [*strides[:0:-1], self.out_stride]]
        self.apply(initialise)

    def forward(self, maps: Sequence[Tensor], size: Size) -> list[Tensor]:
        """What is fused so far, coarsest first; the last, at `size`, is the result."""
        *finer, fused = [lateral(x) for lateral, x in zip(self.laterals, maps, strict=True)]
        steps = [fused]
        for x, up, node in zip(finer[::-1], self.upsample, self.nodes, strict=True):
            steps.append(node([x, up(steps[-1], x.shape[-2:])]))
        return [*steps[:-1], self.refine(steps[-1], size)]


class FCN(TopDown):
    """Shallow skips: linear projections of all maps, summed (Long et al., Fully Convolutional Networks, 2015)."""

    def __init__(self, specs: Sequence[FeatureSpec], *, channels: int = 64, out_stride: int | None = None) -> None:
        laterals = [nn.Conv2d(spec.channels, channels, 1, bias=False) for spec in specs]
        super().__init__(specs, laterals, [Sum() for _ in specs[1:]], channels=channels, out_stride=out_stride)


class FPN(TopDown):
    """Additive top-down path (Lin et al., Feature Pyramid Networks for Object Detection, 2017).

    The 3x3 convolution behind each sum stands in the path here, and not beside it, since one map is wanted of all.
    """

    def __init__(self, specs: Sequence[FeatureSpec], *, channels: int = 64, out_stride: int | None = None) -> None:
        laterals = [conv_norm(spec.channels, channels, 1) for spec in specs]
        nodes = [SumNode([channels] * 2, channels, deformable=False) for _ in specs[1:]]
        super().__init__(specs, laterals, nodes, channels=channels, out_stride=out_stride)


class UNet(TopDown):
    """Concatenating top-down path (Ronneberger et al., U-Net, 2015), of the same parts as `IDA`, in reverse order."""

    def __init__(self, specs: Sequence[FeatureSpec], *, channels: int = 64, out_stride: int | None = None) -> None:
        laterals = [projection(spec.channels, channels) for spec in specs]
        nodes = [node3x3([channels, channels], channels) for _ in specs[1:]]
        super().__init__(specs, laterals, nodes, channels=channels, out_stride=out_stride)
