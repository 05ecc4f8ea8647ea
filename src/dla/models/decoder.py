"""What a decoder is: a module that fuses the maps of a backbone, step by step, into one."""

from collections.abc import Sequence

from torch import Tensor, nn

from dla.backbones import FeatureSpec

Size = tuple[int, int]


class Decoder(nn.Module):
    """Fuses maps, finest first; a subclass has `forward`, which gives the maps on the way too.

    Attributes:
        out_channels: of the result.
        out_stride: input pixels that one pixel of the result stands for.
        step_specs: channels and strides of the maps that `forward` gives.
    """

    out_channels: int
    out_stride: int
    step_specs: list[FeatureSpec]

    def forward(self, maps: Sequence[Tensor], size: Size) -> list[Tensor]:
        """Every step from maps (b, c_i, h_i, w_i), finest first, to the result, (b, out_channels, *size), the last.

        `size` is that of the image over `out_stride`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how to fuse maps")
