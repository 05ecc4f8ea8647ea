"""CenterNet's and FairMOT's names for their DLA-34: the authors' with deformable convolutions, `ida_up` and heads.

`proj_{k}` and `node_{k}` are `conv` and `actf.0`, its batch norm; a deformable `conv` has a `conv_offset_mask` of 27
channels. `ida_up` is the iterative aggregation behind the lines `dla_up.ida_{i}`, and `{name}.{0,2}` are heads, or
`{name}` alone where one is a single convolution.
"""

import re

from torch import nn

KINDS = {"project": "proj", "upsample": "up", "aggregate.nodes": "node"}
PARTS = {
    ".0": ".conv",
    ".0.conv": ".conv",
    ".0.offsets": ".conv.conv_offset_mask",
    ".1": ".actf.0",
    ".conv": "",  # of an upsampling
}


def decoder_names(model: nn.Module) -> dict[str, str]:
    """CenterNet's name of each module with parameters of a decoder of the kind `CenterNetUp`, and of the heads."""
    pairs = {}
    for name in {key.rpartition(".")[0] for key in model.state_dict()}:
        if head := re.fullmatch(r"heads\.(.+)", name):
            pairs[name] = head[1]
        if found := re.fullmatch(
            rf"decoder\.(up\.lines\.\d+|final)\.({'|'.join(KINDS)})\.(\d+)(?:\.layer)?(\..+)", name
        ):
            line = "ida_up" if found[1] == "final" else found[1].replace("up.lines.", "dla_up.ida_")
            if found[4] in PARTS:
                pairs[name] = f"{line}.{KINDS[found[2]]}_{int(found[3]) + 1}{PARTS[found[4]]}"
    return pairs
