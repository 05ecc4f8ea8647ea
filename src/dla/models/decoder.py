"""What a decoder is: a module that fuses the maps of a backbone, step by step, into one."""

from collections.abc import Sequence

from torch import Tensor, nn

from dla.backbones import FeatureSpec

Size = tuple[int, int]


class Decoder(nn.Module):
    """Fuses maps, finest first; a subclass has `steps`.

    Attributes:
        out_channels: of the result.
        out_stride: input pixels that one pixel of the result stands for.
        step_specs: channels and strides of the maps that `steps` gives.
    """

    out_channels: int
    out_stride: int
    step_specs: list[FeatureSpec]

    def forward(self, maps: Sequence[Tensor], size: Size) -> Tensor:
        """Maps (b, c_i, h_i, w_i), finest first -> (b, out_channels, *size), `size` being the image's / out_stride."""
        return self.steps(maps, size)[-1]

    def steps(self, maps: Sequence[Tensor], size: Size) -> list[Tensor]:
        """Like `forward`, with every intermediate; their channels and strides are `step_specs`."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to fuse maps")
