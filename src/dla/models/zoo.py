"""Names: how one becomes a model, and which there are."""

from collections.abc import Callable, Iterable, Sequence, Set
from fnmatch import fnmatch
from inspect import signature
from numbers import Integral
from typing import Any

from torch import nn

from dla.models.classifier import DLA
from dla.models.features import Features
from dla.models.peers import create_peer
from dla.models.variants import VARIANTS, build, build_centernet, build_dense
from dla.names import parse
from dla.weights import IMAGENET, Packaged, completed_options, load_packaged, on_hub, packaged
from dla.weights.hub import FILES

ENDINGS = ("up", "ida")  # endings of the names of dense predictors
CENTERNET = "_centernet"  # behind dla34 alone, as its authors have it


def list_models(filter: str = "*", *, pretrained: bool = False) -> list[str]:
    """Names that `create_model` takes, which match a pattern such as "dla60*".

    Args:
        filter: a shell pattern.
        pretrained: only names with weights: those in the package, such as "dla46_cup.camvid", and those on the Hugging
            Face hub, such as "dla34.in1k".
    """
    if pretrained:
        names = [*packaged(), *(f"{name}.{IMAGENET}" for name in VARIANTS)]
    else:
        names = [*(f"{name}{ending}" for ending in ("", *ENDINGS) for name in VARIANTS), f"dla34{CENTERNET}"]
    return [name for name in names if fnmatch(name, filter)]


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

    "dla34_centernet" gives a dictionary of maps for detection, at 1/4 of the image's size.

    "convnext_tiny+ida" does that with any backbone of timm or ours, fused by any structure that `aggregate` knows; its
    options are those of `dla.models.any_backbone.create_aggregated`. A dot before the plus names weights of the
    backbone, one behind it those of the whole.

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
            global_pool, norm_layer) and width, by which all channels are multiplied; a dense predictor takes
            num_classes (default 19), in_chans, output_stride, drop_path_rate, norm_layer and out_stride, the stride at
            which it fuses (2, 4, 8 or 16; default 2). "dla34_centernet" takes heads (channels of each map by its name),
            head_channels (256; 0 makes each head one 1x1 convolution), in_chans, drop_path_rate, norm_layer, and
            decoder: "deformable", "plain" (3x3 convolutions, as in FairMOT) or "concat" (`DLAUp`, as in dlav0).

    Raises:
        ValueError: the name is unknown, or has no weights where they are asked for.
        WeightsError: weights of the hub are neither in its cache nor within reach.
        TypeError: an option is unknown.
    """
    model: Any = _create(name, pretrained, features_only=features_only, out_indices=out_indices, **options)
    if memory_efficient is not None and hasattr(model, "set_memory_efficient"):
        model.set_memory_efficient(memory_efficient)
    return model


def _create(
    name: str, pretrained: bool, *, features_only: bool, out_indices: int | Sequence[int] | None, **options: Any
) -> nn.Module:
    # As timm has it, None stands for the default.
    options = {key: value for key, value in options.items() if value is not None}
    if not isinstance(num_classes := options.get("num_classes", 1), Integral):
        raise ValueError(f"num_classes is {num_classes!r}; expected a whole number")
    if name.endswith(FILES):
        raise ValueError(
            f"{name!r} is the name of a file: name the network, and give the file as --model.weights or to "
            "dla.load_weights"
        )
    named = parse(name)
    make = _aggregated if named.structure else _peer if named.library else _ours
    return make(name, pretrained, features_only=features_only, out_indices=out_indices, **options)


def _ours(
    name: str, pretrained: bool, *, features_only: bool, out_indices: int | Sequence[int] | None, **options: Any
) -> nn.Module:
    named = parse(name)
    variant, decoder = _parts(named.base)
    if decoder:
        _check_dense(name, variant, pretrained=pretrained, features_only=features_only)
    if out_indices is not None and not features_only:
        raise ValueError("out_indices chooses among the maps that features_only=True gives")
    weights = _weights(f"{named.base}.{named.tag or IMAGENET}") if named.tag or pretrained else None
    num_classes = options.get("num_classes")
    pooling: dict[str, Any] = {}
    if weights:  # which were trained with options of their own, such as stem_stride, and with a head
        if num_classes == 0 and "global_pool" in options:
            pooling["global_pool"] = options.pop("global_pool")
        options = completed_options(name, options) | {"num_classes": weights.cfg["num_classes"]}
    model = _built(name, variant, decoder, options)
    if weights:
        _load(model, weights, pretrained, num_classes, **pooling)
    if features_only:
        return Features(model, (1, 2, 3, 4, 5) if out_indices is None else out_indices)
    return model


def _parts(base: str) -> tuple[str, str]:
    """The classifier's name and the ending of a dense predictor, or none: of "dla34up", dla34 and up."""
    if base not in list_models():
        others = "; of others, timm/NAME, torchvision/NAME, or NAME+ida for any backbone of timm"
        raise ValueError(f"unknown model {base!r}; choose one of {', '.join(list_models())}{others}")
    decoder = next((ending for ending in (*ENDINGS, CENTERNET) if base.endswith(ending)), "")
    return base.removesuffix(decoder), decoder


def _check_dense(name: str, classifier: str, *, pretrained: bool, features_only: bool) -> None:
    if pretrained and not parse(name).tag:
        others = "or load others, also those of a classifier, by dla.load_weights(model, 'timm/dla34.in1k')"
        raise ValueError(f"{name} has no weights by itself: name some of {', '.join(packaged())}; {others}")
    if features_only:
        raise ValueError(f"{name} is a dense predictor; features_only is for a classifier, {classifier}")


def _built(name: str, variant: str, decoder: str, options: dict[str, Any]) -> Any:
    builders = {"": (build, DLA), CENTERNET: (build_centernet,)}.get(decoder, (build_dense,))
    _expect_options(name, options, *builders, said={"residual"})
    if decoder == CENTERNET:
        return build_centernet(VARIANTS[variant], **options)
    return build_dense(VARIANTS[variant], decoder, **options) if decoder else build(VARIANTS[variant], **options)


def _aggregated(name: str, pretrained: bool, *, features_only: bool, **options: Any) -> nn.Module:
    # Here, since that makes our own backbones by name.
    from dla.models.any_backbone import aggregate, create_aggregated

    if features_only:
        raise ValueError(f"{name} fuses maps; features_only is for a classifier, {parse(name).backbone}")
    _expect_options(name, options, create_aggregated, aggregate, said={"structure", "pretrained"})
    if not parse(name).whole:
        return create_aggregated(name, pretrained, **options)
    weights, num_classes = _weights(name), options.get("num_classes")
    given = {key: value for key, value in options.items() if value is not None}
    options = completed_options(name, given) | {"num_classes": weights.cfg["num_classes"]}
    model = create_aggregated(parse(name).untagged, **options)
    _load(model, weights, pretrained, num_classes)
    return model


def _peer(
    name: str, pretrained: bool, *, features_only: bool, out_indices: int | Sequence[int] | None, **options: Any
) -> nn.Module:
    if features_only or out_indices is not None:
        raise ValueError(
            f"{name} gives logits alone; its maps are those of dla.aggregate({parse(name).inner!r}).backbone"
        )
    return create_peer(name, pretrained, **options)


def _expect_options(name: str, options: Iterable[str], *builders: Callable[..., Any], said: Set[str]) -> None:
    """Raise a TypeError where an option is none of any builder, or one that is `said` otherwise."""
    parameters = [parameter for builder in builders for parameter in signature(builder).parameters.values()]
    known = {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY} - said
    if unknown := sorted(set(options) - known):
        raise TypeError(f"{name} has no option {', '.join(unknown)}; it has: {', '.join(sorted(known))}")


def _load(model: Any, weights: Packaged, pretrained: bool, num_classes: int | None, **pooling: Any) -> None:
    """Load the weights that a name names, if asked to, and give a model that was built for them its own classes."""
    if pretrained:
        load_packaged(model, weights)
    if num_classes not in (None, weights.cfg["num_classes"]):
        model.reset_classifier(num_classes, **pooling)


def _weights(name: str) -> Packaged:
    """The named weights: of the package, or the authors', which are on the hub."""
    if name in (f"{variant}.{IMAGENET}" for variant in VARIANTS):
        return on_hub(f"timm/{name}")
    if name not in packaged():
        raise ValueError(f"there are no weights named {name!r}; there are: {', '.join(list_models(pretrained=True))}")
    return packaged()[name]
