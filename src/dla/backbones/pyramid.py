"""A pyramid of maps from a network with one stride (Li et al., Exploring Plain Vision Transformer Backbones, 2022)."""

from jaxtyping import Float
from torch import Tensor, nn

from dla.backbones.backbone import Backbone
from dla.backbones.maps import Maps
from dla.backbones.probe import example
from dla.backbones.specs import FeatureSpec, map_size


class SimplePyramid(Backbone):
    """Maps at a quarter, half, once and twice the stride of the last map of `backbone`, each made of that map alone.

        stride  4   two transposed convolutions by 2
        stride  8   one
    x ─ stride 16   the map itself
        stride 32   max-pooled

    A stride that does not divide by 4 (patches of 14 pixels) gives no quarter.

    Args:
        backbone: gives a list of maps; the last is taken.
        finest: finer strides are left out.
    """

    def __init__(self, backbone: Maps, *, finest: int = 1) -> None:
        super().__init__()
        channels, stride = backbone.feature_specs[-1]
        self.backbone = backbone
        levels = [(spec, level) for spec, level in _levels(channels, stride) if spec.stride >= finest]
        self.feature_specs = [spec for spec, _ in levels]
        self.levels = nn.ModuleList(level for _, level in levels).to(example(backbone))

    def forward(self, x: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """Maps (b, channels, ceil(h / stride), ceil(w / stride)), finest first."""
        last = self.backbone(x)[-1]
        sizes = [map_size(x, spec.stride) for spec in self.feature_specs]
        return [level(last)[..., :height, :width] for level, (height, width) in zip(self.levels, sizes, strict=True)]

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """See `Maps.set_grad_checkpointing`."""
        self.backbone.set_grad_checkpointing(enable)


def _levels(channels: int, stride: int) -> list[tuple[FeatureSpec, nn.Module]]:
    from timm.layers.norm import LayerNorm2d

    levels: list[tuple[FeatureSpec, nn.Module]] = []
    if stride % 4 == 0:
        twice = [_double(channels, channels // 2), LayerNorm2d(channels // 2, eps=1e-5), nn.GELU()]
        quarter = nn.Sequential(*twice, _double(channels // 2, channels // 4))
        levels.append((FeatureSpec(channels // 4, stride // 4), quarter))
    if stride % 2 == 0:
        levels.append((FeatureSpec(channels // 2, stride // 2), _double(channels, channels // 2)))
    levels.append((FeatureSpec(channels, stride), nn.Identity()))
    levels.append((FeatureSpec(channels, 2 * stride), nn.MaxPool2d(2, ceil_mode=True)))
    return levels


def _double(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(in_channels, out_channels, 2, 2)
