"""`create_model`: any name becomes a network, ours, another library's, or aggregation over either."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from torch import nn

from dla.models.any_backbone import aggregate, create_aggregated
from dla.models.options import expect_options
from dla.models.own import create_own, load_named, named_weights
from dla.models.peers import create_peer
from dla.names import parse
from dla.weights import completed_options
from dla.weights.hub import FILES


def create_model(
    name: str,
    pretrained: bool = False,
    *,
    features_only: bool = False,
    out_indices: int | Sequence[int] | None = None,
    memory_efficient: bool | None = None,
    **options: Any,
) -> nn.Module:
    """Build a network by name: "dla34" classifies; "dla34up" and "dla34ida" give logits of every pixel.

    "convnext_tiny+ida" gives logits of every pixel, too, over any backbone of timm or ours, fused by any structure that
    `aggregate` knows; its options are those of `dla.models.any_backbone.create_aggregated`. A dot before the plus names
    weights of the backbone, one behind it those of the whole.

    "dla34_centernet" gives a dictionary of maps for detection, at 1/4 of the image's size, and so does each of the ten.

    "timm/resnet34" and "torchvision/squeezenet1_1" are classifiers of these libraries, to be compared with ours, and
    "torchvision/deeplabv3_resnet50" a dense predictor; their options are those of `dla.models.peers.create_peer`.

    Args:
        name: of `list_models()`; weights are named after a dot, as in "dla46_cup.camvid".
        pretrained: load the weights that the name names, for a classifier without a name those of the authors, "in1k";
            where `num_classes` differs, the head stays untrained.
        features_only: for a classifier's name, a module that gives a list of maps instead.
        out_indices: with `features_only`, which stages' maps (0 to 5, by default 1 to 5).
        memory_efficient: ours train in half the memory and compute cheap results again (`dla.recomputing`); False keeps
            all, which is a little faster; None is True on a CPU and compiled, and else False on a GPU, where it costs
            more.
        options: of `DLA` (num_classes, in_chans, output_stride, stem_stride, structure, drop_rate, drop_path_rate,
            global_pool, norm_layer) and width, by which all channels are multiplied; `in_chans=(3, 3, 1)` are several
            images, one behind the other along the channels, as CenterTrack takes them. A dense predictor takes
            num_classes (default 19), in_chans, output_stride, drop_path_rate, norm_layer and out_stride, the stride at
            which it fuses (2, 4, 8 or 16; default 2). "dla34_centernet" takes heads (channels of each map by its name),
            head_channels (256; 0 makes each head one 1x1 convolution), in_chans, drop_path_rate, norm_layer, and
            decoder: "deformable", "plain" (3x3 convolutions, as in FairMOT) or "concat" (`DLAUp`, as in dlav0).

    Raises:
        ValueError: the name is unknown, or has no weights where they are asked for.
        WeightsError: weights of the hub are neither in its cache nor within reach.
        TypeError: an option is unknown, or the name is none.
    """
    options = {"out_indices": out_indices, **options}
    given = {key: value for key, value in options.items() if value is not None}  # as in timm, None is the default
    model: Any = _create(name, pretrained, features_only=features_only, **given)
    if memory_efficient is not None and hasattr(model, "set_memory_efficient"):
        model.set_memory_efficient(memory_efficient)
    return model


def _create(name: str, pretrained: bool, *, features_only: bool, **options: Any) -> nn.Module:
    if not isinstance(name, str):
        raise TypeError(
            f"create_model takes the name of a network, not {type(name).__name__}; modules go to dla.aggregate and "
            "dla.rewire"
        )
    if not isinstance(num_classes := options.get("num_classes", 1), Integral):
        raise ValueError(f"num_classes is {num_classes!r}; expected a whole number")
    if name.endswith(FILES):
        raise ValueError(
            f"{name!r} is the name of a file: name the network, and give the file as --model.weights or to "
            "dla.load_weights"
        )
    named = parse(name)
    make = _aggregated if named.structure else _peer if named.library else create_own
    return make(name, pretrained, features_only=features_only, **options)


def _aggregated(name: str, pretrained: bool, *, features_only: bool, **options: Any) -> nn.Module:
    if features_only:
        raise ValueError(f"{name} fuses maps; features_only is for a classifier, {parse(name).backbone}")
    expect_options(name, options, create_aggregated, aggregate, said={"structure", "pretrained"})
    if not parse(name).whole:
        return create_aggregated(name, pretrained, **options)
    weights = named_weights(name)
    built = completed_options(name, options) | {"num_classes": weights.cfg["num_classes"]}
    model = create_aggregated(parse(name).untagged, **built)
    load_named(model, weights, pretrained, options.get("num_classes"))
    return model


def _peer(name: str, pretrained: bool, *, features_only: bool, **options: Any) -> nn.Module:
    if features_only or "out_indices" in options:
        raise ValueError(
            f"{name} gives logits alone; its maps are those of dla.aggregate({parse(name).inner!r}).backbone"
        )
    return create_peer(name, pretrained, **options)
