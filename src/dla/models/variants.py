"""The ten networks of the paper in one table, and what is built of a row: classifier, dense predictor, detector."""

from collections.abc import Mapping, Sequence
from functools import partial
from numbers import Real
from typing import Any, NamedTuple

from dla.models.blocks import BlockFactory, basic, bottleneck, split
from dla.models.centernet import DETECTION, CenterNet, CenterNetUp
from dla.models.classifier import DLA
from dla.models.dense import IDA, DensePredictor, DLAUp
from dla.models.features import Features
from dla.models.norms import NormLayer, with_norms


class Variant(NamedTuple):
    """A row of the paper's table of networks."""

    block: BlockFactory
    depths: tuple[int, int, int, int]  # of the trees of stages 3 to 6
    channels: tuple[int, int, int, int, int, int]  # of stages 1 to 6
    residual: bool = False  # nodes add their last input


COMPACT = (16, 32, 64, 64, 128, 256)
WIDE = (16, 32, 128, 256, 512, 1024)

VARIANTS = {
    "dla34": Variant(basic, (1, 2, 2, 1), (16, 32, 64, 128, 256, 512)),
    "dla46_c": Variant(bottleneck, (1, 2, 2, 1), COMPACT),
    "dla46x_c": Variant(split, (1, 2, 2, 1), COMPACT),
    "dla60x_c": Variant(split, (1, 2, 3, 1), COMPACT),
    "dla60": Variant(bottleneck, (1, 2, 3, 1), WIDE),
    "dla60x": Variant(split, (1, 2, 3, 1), WIDE),
    "dla102": Variant(bottleneck, (1, 3, 4, 1), WIDE, residual=True),
    "dla102x": Variant(split, (1, 3, 4, 1), WIDE, residual=True),
    "dla102x2": Variant(partial(split, groups=64), (1, 3, 4, 1), WIDE, residual=True),
    "dla169": Variant(bottleneck, (2, 3, 5, 1), WIDE, residual=True),
}


def build(variant: Variant, *, width: float = 1.0, **options: Any) -> DLA:
    """The classifier of a row of the table, or of a row of your own, its channels multiplied by `width`."""
    channels = [scaled(channels, width) for channels in variant.channels]
    return DLA(variant.block, variant.depths, channels, residual=variant.residual, **options)


def scaled(channels: int, width: float) -> int:
    """`width` times `channels`, rounded to an even number, since a bottleneck is half as wide.

    Raises:
        ValueError: nothing is left, or `width` is no positive number.
    """
    if not isinstance(width, Real) or not width > 0:  # nor NaN
        raise ValueError(f"width must be a positive number, not {width!r}")
    rounded = 2 * round(channels * width / 2)
    if rounded < 2:
        raise ValueError(f"width {width} leaves nothing of {channels} channels; give a larger one")
    return rounded


def build_centernet(
    variant: Variant,
    *,
    heads: Mapping[str, int] = DETECTION,
    decoder: str = "deformable",
    head_channels: int = 256,
    in_chans: int | Sequence[int] = 3,
    drop_path_rate: float = 0.0,
    norm_layer: NormLayer = "batchnorm",
) -> CenterNet:
    """CenterNet's detector on the classifier of a row; the options are explained at `create_model`."""
    if decoder not in ("deformable", "plain", "concat"):
        raise ValueError(f"decoder must be 'deformable', 'plain' or 'concat', not {decoder!r}")
    network = build(variant, num_classes=0, in_chans=in_chans, drop_path_rate=drop_path_rate)
    backbone = Features(network, range(2, 6))
    specs = backbone.feature_specs
    fuse = DLAUp(specs) if decoder == "concat" else CenterNetUp(specs, deformable=decoder == "deformable")
    model = CenterNet(backbone, fuse, heads, head_channels=head_channels)
    with_norms(model, norm_layer)
    return model


def build_dense(
    variant: Variant,
    decoder: str,
    *,
    num_classes: int = 19,
    in_chans: int | Sequence[int] = 3,
    out_stride: int = 2,
    output_stride: int = 32,
    drop_path_rate: float = 0.0,
    norm_layer: NormLayer = "batchnorm",
) -> DensePredictor:
    """A dense predictor on the classifier of a row, its decoder "up" or "ida"; the options as for `create_model`."""
    if out_stride not in (2, 4, 8, 16) or out_stride > output_stride:
        raise ValueError(f"out_stride must be 2, 4, 8 or 16 and at most output_stride, not {out_stride}")
    network = build(
        variant, num_classes=0, in_chans=in_chans, output_stride=output_stride, drop_path_rate=drop_path_rate
    )
    finest = [spec.stride for spec in network.feature_specs].index(out_stride)
    backbone = Features(network, range(finest if decoder == "up" else max(finest, 2), 6))
    specs = backbone.feature_specs
    fuse = DLAUp(specs) if decoder == "up" else IDA(specs, out_stride=out_stride)
    model = DensePredictor(backbone, fuse, num_classes=num_classes)
    with_norms(model, norm_layer)
    return model
