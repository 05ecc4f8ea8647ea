"""CenterNet's and FairMOT's names for their DLA-34: the authors' with deformable convolutions, `ida_up` and heads.

`proj_{k}` and `node_{k}` are `conv` and `actf.0`, its batch norm; a deformable `conv` has a `conv_offset_mask` of 27
channels. `ida_up` is the iterative aggregation behind the lines `dla_up.ida_{i}`, and `{name}.{0,2}` are heads, or
`{name}` alone where one is a single convolution.
"""

import re
from collections.abc import Iterable

from torch import nn

from dla.weights.report import WeightsError

TRACKED = ("base.pre_img_layer.", "base.pre_hm_layer.")
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


def expect_one_image(keys: Iterable[str]) -> None:
    """Refuse weights of CenterTrack's tracker, which are CenterNet's but for what they add to the first map."""
    if tracked := [key for key in keys if key.startswith(TRACKED)]:
        raise WeightsError(
            f"{tracked[0]} is of CenterTrack, which adds the image before and its heatmap to the first map: "
            "no network here takes them"
        )
