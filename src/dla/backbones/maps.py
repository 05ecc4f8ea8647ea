"""Any module that gives maps, as the list that a decoder takes: finest first, (b, c, h, w), sizes rounded up."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from dla.backbones.backbone import Backbone
from dla.backbones.find import find_maps
from dla.backbones.probe import as_maps
from dla.backbones.specs import choose, map_size
from dla.recompute.checkpointing import checkpointed


def _lacking(side: int, multiple: int) -> int:
    """How much a side lacks to the next multiple; not -side % multiple, which ncnn's converter gets wrong."""
    return (side + multiple - 1) // multiple * multiple - side


def _cropped(x: Float[Tensor, "b c _ _"], height: int, width: int) -> Float[Tensor, "b c {height} {width}"]:
    """The upper left part."""
    if torch.compiler.is_exporting():  # of a view, whether sizes make it the whole would become a condition
        return F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]))
    return x[..., :height, :width]


class Maps(Backbone):
    """The maps of `body`, a module that returns a list or dictionary of them, finest first.

    Channels, strides, and whether the channels come last are found by running it on small images, which leaves it as it
    was. Where `body` rounds sizes down, takes only multiples of its coarsest stride, or pads by the size of the image,
    images are padded with zeros at the bottom and right, and the maps cropped.

    Args:
        body: the module.
        in_chans: channels of the images.
        out_indices: which of its maps; all for None, the last n for an int.
        finest: with None for `out_indices`, maps of finer strides are left out.

    Raises:
        ValueError: `body` fails on small images, or gives something other than maps.
    """

    def __init__(
        self,
        body: nn.Module,
        *,
        in_chans: int = 3,
        out_indices: int | Sequence[int] | None = None,
        finest: int = 1,
    ) -> None:
        super().__init__()
        layouts, self.multiple = find_maps(body, in_chans)
        self.out_indices = choose([found.spec.stride for found in layouts], out_indices, finest)
        self.channels_last = [layouts[i].channels_last for i in self.out_indices]
        self.feature_specs = [layouts[i].spec for i in self.out_indices]
        self.body = body
        self.grad_checkpointing = False

    def forward(self, x: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """Maps (b, channels, ceil(h / stride), ceil(w / stride)), finest first."""
        height, width = x.shape[-2:]
        right, bottom = (_lacking(side, self.multiple) for side in (width, height))
        padded = F.pad(x, (0, right, 0, bottom)) if self.multiple > 1 else x
        checkpoint = self.grad_checkpointing and torch.is_grad_enabled()
        given = as_maps(checkpointed(self.body, padded) if checkpoint else self.body(padded))
        maps = []
        for i, last, (_, stride) in zip(self.out_indices, self.channels_last, self.feature_specs, strict=True):
            full = given[i].permute(0, 3, 1, 2) if last else given[i]
            maps.append(_cropped(full, *map_size(x, stride)))
        return maps

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Keep less for the backward pass and compute the rest again, with the same running statistics.

        A module that can do so in parts does, unless it has batch norms, which would count each batch twice; any other
        is computed again as a whole, so that its activations and the decoder's are never held together.
        """
        in_parts = self._checkpoints_parts(enable)  # asked in either case, since its own switch is to follow
        self.grad_checkpointing = enable and not in_parts

    def _checkpoints_parts(self, enable: bool) -> bool:
        set_it: Any = getattr(self.body, "set_grad_checkpointing", None)
        if set_it is None or any(isinstance(module, _NormBase) for module in self.body.modules()):
            return False
        try:
            set_it(enable)
        except AssertionError:  # how timm's models say that they cannot
            return False
        return True
