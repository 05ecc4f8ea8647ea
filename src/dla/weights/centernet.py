"""CenterNet's, FairMOT's and CenterTrack's names for their DLA-34: the authors' with deformable convolutions and heads.

`proj_{k}` and `node_{k}` are `conv` and `actf.0`, its batch norm; a deformable `conv` has a `conv_offset_mask` of 27
channels. `ida_up` is the iterative aggregation behind the lines `dla_up.ida_{i}`, and `{name}.{0,2}` are heads, or
`{name}` alone where one is a single convolution. CenterTrack adds the maps of two more stems to the first one's: of the
image before, `pre_img_layer`, and of a heatmap of what was found in it, `pre_hm_layer`.
"""

import re
from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from dla.weights.report import WeightsError

BEFORE, FOUND = "pre_img_layer", "pre_hm_layer"
LAYER = {".0": ".conv", ".0.conv": ".conv", ".0.offsets": ".conv.conv_offset_mask", ".1": ".actf.0"}
PARTS = {
    "upsample.conv": "up_{}",
    **{f"project{ours}": f"proj_{{}}{theirs}" for ours, theirs in LAYER.items()},
    **{f"layer{ours}": f"node_{{}}{theirs}" for ours, theirs in LAYER.items()},
}


def decoder_names(model: nn.Module) -> dict[str, str]:
    """CenterNet's name of each module with parameters of a decoder of the kind `CenterNetUp`, and of the heads."""
    pairs = {}
    for name in {key.rpartition(".")[0] for key in model.state_dict()}:
        if head := re.fullmatch(r"heads\.(.+)", name):
            pairs[name] = head[1]
        found = re.fullmatch(r"decoder\.(up\.lines\.\d+|final)\.(?:bring|aggregate\.nodes)\.(\d+)\.(.+)", name)
        if found and found[3] in PARTS:
            line = "ida_up" if found[1] == "final" else found[1].replace("up.lines.", "dla_up.ida_")
            pairs[name] = f"{line}.{PARTS[found[3]].format(int(found[2]) + 1)}"
    return pairs


def stem_names(network: nn.Module) -> dict[str, str]:
    """CenterTrack's name of each module with parameters in the stems of a classifier's further images."""
    stems: dict[str, str] = {}
    for i, channels in enumerate(getattr(network, "image_channels", ())[1:]):
        stems.setdefault(FOUND if channels == 1 else BEFORE, f"beside.{i}.0")
    return {f"{ours}.{part}": f"{theirs}.{part}" for theirs, ours in stems.items() for part in (0, 1)}


def images_of(kernels: Mapping[str, Tensor]) -> list[int]:
    """Channels of the further images, in their order, of which there are kernels among weights of any layout."""
    theirs = [key for layer in (BEFORE, FOUND) for key in kernels if key.endswith(f"{layer}.0.weight")]
    ours = [key for key in kernels if re.search(r"(^|\.)beside\.\d+\.0\.0\.weight$", key)]
    ours.sort(key=lambda key: (len(key), key))  # by number: 10 behind 9
    return [kernels[key].shape[1] for key in (*theirs, *ours)]


def expect_images(keys: Iterable[str], layout: Mapping[str, str]) -> None:
    """Refuse weights of CenterTrack for a network without its stems; `layout` holds the keys that have a place."""
    if homeless := [key for key in keys if key.startswith((f"base.{BEFORE}", f"base.{FOUND}")) and key not in layout]:
        raise WeightsError(
            f"{homeless[0]} is of CenterTrack, which takes an image, the one before it and a heatmap: create the "
            "network with in_chans=(3, 3, 1), or those of these three that the weights are for"
        )
