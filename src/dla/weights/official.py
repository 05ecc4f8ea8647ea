"""The authors' own names: classifiers with layers that nothing uses, and segmentation networks.

Their classifiers are timm's (`dla.weights.timm`), with a projection at every level of a tree where the innermost alone
is used. A segmentation network holds such a classifier as `base`, its last layer too; `dla_up.ida_{i}` is line i of
`DLAUp`, with `proj_{k}`, `up_{k}` and `node_{k}` for each coarse map, k from 1; `fc.0` classifies pixels, and `up`
interpolates bilinearly and was never trained.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dla.weights import timm
from dla.weights.centernet import stem_names
from dla.weights.report import WeightsError

CLASSES = 1000  # of ImageNet
PARTS = {
    "project.0.0": "proj_{}.0",
    "project.0.1": "proj_{}.1",
    "upsample.conv": "up_{}",
    "conv": "node_{}.0",
    "norm": "node_{}.1",
}


def body(model: nn.Module) -> nn.Module:
    """The classifier inside a dense predictor or a list of feature maps; a classifier is its own."""
    part = getattr(model, "backbone", model)
    return getattr(part, "body", part)


def base_names(model: nn.Module) -> dict[str, str]:
    """The authors' name of each module of a dense predictor's backbone."""
    return {f"backbone.body.{ours}": f"base.{theirs}" for ours, theirs in trunk_names(body(model)).items()}


def trunk_names(network: nn.Module) -> dict[str, str]:
    """timm's name of each of a classifier's modules with parameters, and CenterTrack's of those that timm's lacks."""
    return timm.names(network) | stem_names(network)


def decoder_names(model: nn.Module) -> dict[str, str]:
    """The authors' name of each module of a decoder of the kind `DLAUp`, and of the classifier of pixels."""
    pairs = {"head.classify": "fc.0"}
    for name, _ in model.named_modules():
        line = re.fullmatch(r"decoder\.lines\.(\d+)\.(?:bring|aggregate\.nodes)\.(\d+)\.(.+)", name)
        if line and line[3] in PARTS:
            pairs[name] = f"dla_up.ida_{line[1]}.{PARTS[line[3]].format(int(line[2]) + 1)}"
    return pairs


def unused_projections(names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The authors' projections that nothing uses, each with the used one of the same shape, of timm's `names`."""
    for used in names.values():
        unused = used
        while "project." in used and "tree1." in unused:
            unused = unused.replace("tree1.", "", 1)
            yield unused, used


def unused(model: nn.Module, keys: Collection[str]) -> set[str]:
    """Which of the authors' `keys` of a classifier nothing in `model` reads: it lacks the projection, stage or head."""
    names = timm.names(body(model))
    projections = {projection for projection, _ in unused_projections(names)}
    built = {name.partition(".")[0] for name in names.values()}
    parts = {"fc", *(f"level{i}" for i in range(6))} - built
    return {key for key in keys if key.rpartition(".")[0] in projections or key.partition(".")[0] in parts}


def check_upsampling(model: nn.Module, weight: Any) -> None:
    """Refuse a final upsampling other than bilinear interpolation by the model's stride, all that we have there.

    A model without one, such as a classifier, takes the rest of the weights.
    """
    upsample: Any = getattr(getattr(model, "head", None), "upsample", None)
    if upsample is None:
        return
    kernel: Tensor = upsample.kernel
    shape = tuple(getattr(weight, "shape", []))
    if shape[-2:] != kernel.shape or not torch.allclose(weight.to(kernel), kernel.expand(shape)):
        raise WeightsError(
            f"up.weight {shape} is not bilinear interpolation by {kernel.shape[-1] // 2}, the model's "
            "out_stride, and no other upsampling is supported at the end: create the model with the out_stride of "
            "these weights, or leave up.weight out"
        )


def invented(model: nn.Module) -> dict[str, Tensor]:
    """What the authors' classifier has besides and never uses: projections of zeros, their norms as norms start."""
    network = body(model)
    names = timm.names(network)
    ours = {theirs: name for name, theirs in names.items()}
    state = network.state_dict()
    result = {}
    for projection, used in unused_projections(names):
        for key in [key for key in state if key.startswith(f"{ours[used]}.")]:
            leaf = key.rpartition(".")[2]
            one = leaf == "running_var" or (leaf == "weight" and state[key].ndim == 1)
            result[f"{projection}.{leaf}"] = torch.full_like(state[key], int(one))
    return result


def invented_ends(model: nn.Module) -> dict[str, Tensor]:
    """What the authors' dense predictor has besides: a classifier that it never uses, of zeros, and its upsampling."""
    weight: Tensor = model.head.classify.weight  # type: ignore[union-attr, assignment]
    kernel: Tensor = model.head.upsample.kernel  # type: ignore[union-attr, assignment]
    channels = list(model.backbone.body.feature_specs)[-1].channels  # type: ignore[union-attr, arg-type]
    return {
        "base.fc.weight": weight.new_zeros(CLASSES, channels, 1, 1),
        "base.fc.bias": weight.new_zeros(CLASSES),
        "up.weight": kernel.to(weight).repeat(len(weight), 1, 1, 1),
    }
