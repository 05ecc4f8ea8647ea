"""Which of the ways to get maps of a module is the right one."""

from collections.abc import Sequence

from torch import Tensor, nn

from dla.backbones.backbone import Backbone
from dla.backbones.maps import Maps
from dla.backbones.probe import FAILURES, SIZES, run_once
from dla.backbones.stages import stage_maps
from dla.backbones.timm_maps import timm_maps


def adapt(
    module: nn.Module,
    *,
    in_chans: int = 3,
    out_indices: int | Sequence[int] | None = None,
    out_stride: int | None = None,
) -> Backbone:
    """Make a backbone of a module that returns a list or dictionary of maps, or of a classifier of timm or torchvision.

    A classifier is changed: what no map needs is dropped.

    Args:
        module: the module.
        in_chans: channels of the images.
        out_indices: which of its maps; None for all, except a classifier's at the image's own size.
        out_stride: with None for `out_indices`, maps of finer strides are left out.

    Raises:
        ValueError: the module fails on small images, or gives something other than maps.
    """
    if hasattr(module, "forward_intermediates"):
        return timm_maps(module, in_chans=in_chans, out_indices=out_indices, finest=out_stride or 2)
    if _is_classifier(module, in_chans):
        if out_indices is not None:
            raise ValueError(f"the maps of a {type(module).__name__} have no indices: leave out_indices out")
        return stage_maps(module, in_chans=in_chans, finest=out_stride or 2)
    return Maps(module, in_chans=in_chans, out_indices=out_indices, finest=out_stride or 1)


def _is_classifier(module: nn.Module, in_chans: int) -> bool:
    try:
        output = run_once(module, SIZES[0], in_chans)
    except FAILURES:  # `Maps` tries another size, and tells what goes wrong
        return False
    return isinstance(output, Tensor) and output.ndim == 2
