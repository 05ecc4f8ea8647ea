"""Our own networks by name: which there are, and how a name becomes a classifier, a dense predictor or a detector."""

from collections.abc import Sequence
from fnmatch import fnmatch
from typing import Any

from torch import nn

from dla.models.classifier import DLA
from dla.models.features import Features
from dla.models.options import expect_options
from dla.models.variants import VARIANTS, build, build_centernet, build_dense
from dla.names import meant, parse
from dla.weights import IMAGENET, Packaged, completed_options, load_weights, on_hub, packaged

CENTERNET = "_centernet"  # CenterNet's authors have it behind dla34 alone
ENDINGS = ("up", "ida", CENTERNET)  # of dense predictors and of detectors


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
        names = [f"{name}{ending}" for ending in ("", *ENDINGS) for name in VARIANTS]
    return [name for name in names if fnmatch(name, filter)]


def create_own(
    name: str,
    pretrained: bool,
    *,
    features_only: bool = False,
    out_indices: int | Sequence[int] | None = None,
    **options: Any,
) -> nn.Module:
    """A network of `list_models()`; the arguments are those of `create_model`."""
    named = parse(name)
    variant, decoder = _parts(named.base)
    if decoder:
        _check_dense(name, variant, pretrained=pretrained, features_only=features_only)
    if out_indices is not None and not features_only:
        raise ValueError("out_indices chooses among the maps that features_only=True gives")
    weights = named_weights(f"{named.base}.{named.tag or IMAGENET}") if named.tag or pretrained else None
    num_classes = options.get("num_classes")
    pooling: dict[str, Any] = {}
    if weights:  # which were trained with options of their own, such as stem_stride, and with a head
        if num_classes == 0 and "global_pool" in options:
            pooling["global_pool"] = options.pop("global_pool")
        options = completed_options(name, options) | {"num_classes": weights.cfg["num_classes"]}
    model = _built(name, variant, decoder, options)
    if weights:
        load_named(model, weights, pretrained, num_classes, **pooling)
    if features_only:
        return Features(model, (1, 2, 3, 4, 5) if out_indices is None else out_indices)
    return model


def _parts(base: str) -> tuple[str, str]:
    """The classifier's name and the ending of a dense predictor, or none: of "dla34up", dla34 and up."""
    if base not in list_models():
        raise ValueError(f"unknown model {base!r}{_instead(base)}")
    decoder = next((ending for ending in ENDINGS if base.endswith(ending)), "")
    return base.removesuffix(decoder), decoder


def _instead(base: str) -> str:
    """What one may have meant by a name that is none of ours."""
    from timm import is_model

    if is_model(base):
        return f", which is timm's: timm/{base} classifies, {base}+ida gives logits of every pixel"
    others = "; `dla models` lists ours, others are timm/NAME, torchvision/NAME, or NAME+ida over a backbone of timm"
    return others + meant(base, list_models())


def _check_dense(name: str, classifier: str, *, pretrained: bool, features_only: bool) -> None:
    if pretrained and not parse(name).tag:
        others = f"or load others, also those of a classifier, by dla.load_weights(model, 'timm/{classifier}.in1k')"
        raise ValueError(f"{name} has no weights by itself: name some of {', '.join(packaged())}; {others}")
    if features_only:
        raise ValueError(f"{name} is a dense predictor; features_only is for a classifier, {classifier}")


def _built(name: str, variant: str, decoder: str, options: dict[str, Any]) -> Any:
    builders = {"": (build, DLA), CENTERNET: (build_centernet,)}.get(decoder, (build_dense,))
    expect_options(name, options, *builders, said={"residual"})
    if decoder == CENTERNET:
        return build_centernet(VARIANTS[variant], **options)
    return build_dense(VARIANTS[variant], decoder, **options) if decoder else build(VARIANTS[variant], **options)


def load_named(model: Any, weights: Packaged, pretrained: bool, num_classes: int | None, **pooling: Any) -> None:
    """Load the weights that a name names, if asked to, and give a model that was built for them its own classes."""
    if pretrained:
        load_weights(model, weights.path)
        model.pretrained_cfg = dict(weights.cfg)
    if num_classes not in (None, weights.cfg["num_classes"]):
        model.reset_classifier(num_classes, **pooling)


def named_weights(name: str) -> Packaged:
    """The named weights: of the package, or the authors', which are on the hub."""
    if name in (f"{variant}.{IMAGENET}" for variant in VARIANTS):
        return on_hub(f"timm/{name}")
    if name not in packaged():
        raise ValueError(f"there are no weights named {name!r}; there are: {', '.join(list_models(pretrained=True))}")
    return packaged()[name]
