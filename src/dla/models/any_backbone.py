"""Aggregation over the maps of any backbone, whose blocks it never looks into: structures and builders."""

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

from torch import nn

from dla.backbones import Backbone, FeatureSpec, adapt, check_specs, choose, example, is_power_of_two, timm_model
from dla.models.aggregated import Aggregated, AggregatedClassifier
from dla.models.classifier import DLA
from dla.models.decoder import Decoder
from dla.models.dense import IDA, DensePredictor, DLAUp
from dla.models.features import Features
from dla.models.heads import Pool
from dla.models.norms import NormLayer, with_norms
from dla.models.options import expect_drop_path_rate
from dla.models.own import create_own, list_models
from dla.models.top_down import FCN, FPN, UNet
from dla.models.variants import VARIANTS
from dla.names import parse
from dla.networks import copied

DECODERS: dict[str, Callable[..., Decoder]] = {"ida": IDA, "dla_up": DLAUp, "fcn": FCN, "fpn": FPN, "unet": UNet}
"""What fuses a list of maps: two of the paper's, and three that it is compared with."""


def aggregate(
    backbone: str | nn.Module,
    *,
    structure: str = "ida",
    out_channels: int = 64,
    out_stride: int | None = None,
    in_chans: int = 3,
    pretrained: bool = False,
    out_indices: int | Sequence[int] | None = None,
    norm_layer: NormLayer = "batchnorm",
    backbone_options: dict[str, Any] | None = None,
) -> Aggregated:
    """Fuse the maps of a backbone into one: images (b, in_chans, h, w) to (b, out_channels, ~h / out_stride, ...).

    Sizes are rounded up, and any size of image works. `forward_steps` gives the intermediate maps too, and `step_specs`
    says what they are. The structure takes the device and dtype of a module that is given.

    Args:
        backbone: the name of a timm model or of one of our classifiers; a classifier of timm, torchvision or ours;
            or a module that returns a list or dictionary of maps, finest first. A module is copied, and the copy loses
            what no map needs.
        structure: "ida" or "dla_up", as in the paper; "fcn", "fpn" or "unet".
        out_channels: of all fused maps.
        out_stride: of the result, the backbone's finest for None. Finer maps are left out; a finer result is upsampled,
            but "ida" fuses at that stride, which costs more.
        in_chans: channels of the images.
        pretrained: with a name, load the backbone's weights.
        out_indices: the backbone's maps that are fused; None for all, except a classifier's at the image's own size,
            and for plain transformers, of whose last map a pyramid is made.
        norm_layer: of the structure (FCN has no norm), and of a backbone of ours that is given by name: "batchnorm",
            "groupnorm", "syncbatchnorm", or what makes a norm from a channel count. A timm model given by name gets its
            batch norms synchronised by "syncbatchnorm", and otherwise keeps its norms, which its weights are made for.
        backbone_options: with a name, further options for making the backbone, such as {"drop_path_rate": 0.1}.

    Raises:
        ValueError: a name is unknown, or the backbone's maps cannot be fused.
        TypeError: the backbone is neither a name nor a module, or does not know an option.
        WeightsError: pretrained weights cannot be downloaded.
    """
    if structure not in DECODERS:
        raise ValueError(f"structure must be one of {', '.join(DECODERS)}, not {structure!r}")
    if isinstance(backbone, str):
        backbone = _named(backbone, pretrained, in_chans, norm_layer, backbone_options or {})
    elif not isinstance(backbone, nn.Module):
        raise TypeError(f"a backbone is a name or a module, not {type(backbone).__name__}")
    elif isinstance(backbone, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise ValueError(
            f"{type(backbone).__name__} shares a module out: give the one within, .module, and wrap the result"
        )
    elif pretrained or backbone_options:
        raise ValueError("pretrained and backbone_options are for a backbone's name: a module is already made")
    else:
        backbone = copied(backbone)
    cfg: dict[str, Any] = getattr(backbone, "pretrained_cfg", None) or {}
    features = _features(backbone, in_chans, out_indices, out_stride)
    decoder = make_decoder(structure, features.feature_specs, out_channels, out_stride)
    with_norms(decoder, norm_layer)
    fused = Aggregated(features, decoder.to(example(features)))
    fused.pretrained_cfg = {key: list(cfg[key]) for key in ("mean", "std") if key in cfg}
    return fused


def make_decoder(structure: str, specs: Sequence[FeatureSpec], channels: int, out_stride: int | None = None) -> Decoder:
    """The structure that fuses maps of `specs` into one of `channels` at `out_stride`, the finest map's for None.

    Raises:
        ValueError: maps of these strides cannot be fused at `out_stride`.
    """
    finest = check_specs(specs)[0].stride
    out_stride = finest if out_stride is None else out_stride
    for name, number in {"out_channels": channels, "out_stride": out_stride}.items():
        if not isinstance(number, Integral) or number < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, not {number!r}")
    if out_stride > finest or finest % out_stride or not is_power_of_two(finest // out_stride):
        raise ValueError(
            f"out_stride must be the finest map's stride, {finest}, over a power of two, not {out_stride}: "
            "give another, or leave out finer maps by out_indices"
        )
    return DECODERS[structure](specs, channels=channels, out_stride=out_stride)


def _named(name: str, pretrained: bool, in_chans: int, norm_layer: NormLayer, options: dict[str, Any]) -> nn.Module:
    base = parse(name).base
    if base not in VARIANTS and base in list_models():
        trunk = max((variant for variant in VARIANTS if base.startswith(variant)), key=len)
        raise ValueError(f"{name} fuses maps itself, and is no backbone: give the one within, {trunk}")
    if base in VARIANTS:
        options = {"norm_layer": norm_layer, **options}
        return create_own(name, pretrained, num_classes=0, in_chans=in_chans, **options)
    model = timm_model(name, pretrained=pretrained, in_chans=in_chans, options=options)
    return _synchronised(model) if norm_layer == "syncbatchnorm" else model


def _synchronised(model: nn.Module) -> nn.Module:
    from timm.layers.norm_act import convert_sync_batchnorm  # torch's own would lose the activations in timm's norms

    return convert_sync_batchnorm(model)


def _features(
    module: nn.Module, in_chans: int, out_indices: int | Sequence[int] | None, out_stride: int | None
) -> Backbone:
    if isinstance(module, Features) and out_indices is None:
        specs = zip(module.out_indices, module.feature_specs, strict=True)
        out_indices, module = [i for i, spec in specs if spec.stride >= (out_stride or 1)], module.body
    if not isinstance(module, DLA):
        return adapt(module, in_chans=in_chans, out_indices=out_indices, out_stride=out_stride)
    return Features(module, choose([spec.stride for spec in module.feature_specs], out_indices, out_stride or 2))


def create_aggregated(
    name: str,
    pretrained: bool = False,
    *,
    head: str = "dense",
    num_classes: int | None = None,
    global_pool: Pool = "avg",
    drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
    output_stride: int | None = None,
    backbone_options: dict[str, Any] | None = None,
    **options: Any,
) -> DensePredictor | AggregatedClassifier:
    """The network of a name such as "convnext_tiny+ida": the backbone, a plus, the structure.

    Args:
        name: backbone and structure, as `aggregate` takes them.
        pretrained: load the backbone's weights; structure and head stay untrained.
        head: "dense" for logits of every pixel, "classifier" for those of the pooled map.
        num_classes: 19 by default for "dense", 1000 for "classifier".
        global_pool: of a classifier, "avg" or "max".
        drop_rate: of a classifier, dropout before it.
        drop_path_rate: of the backbone, where it has one.
        output_stride: of the backbone, where it can dilate.
        backbone_options: further options of the backbone.
        options: of `aggregate`: out_channels, out_stride, in_chans, out_indices, norm_layer.

    Raises:
        ValueError: see `aggregate`; or `head` is neither of the two, or `drop_path_rate` no chance.
        TypeError: an option is unknown to the backbone or to us.
    """
    named = parse(name)
    if head not in ("dense", "classifier"):
        raise ValueError(f"head must be 'dense' or 'classifier', not {head!r}")
    if head == "dense" and (global_pool != "avg" or drop_rate):
        raise ValueError("global_pool and drop_rate are of a classifier: leave them out, or give head='classifier'")
    expect_drop_path_rate(drop_path_rate)
    chosen = {"drop_path_rate": drop_path_rate or None, "output_stride": output_stride}
    parts = aggregate(
        named.backbone,
        structure=named.structure,
        pretrained=pretrained,
        backbone_options={k: v for k, v in chosen.items() if v is not None} | (backbone_options or {}),
        **options,
    )
    model: DensePredictor | AggregatedClassifier
    if head == "classifier":
        classes = 1000 if num_classes is None else num_classes
        model = AggregatedClassifier(
            parts.backbone, parts.decoder, num_classes=classes, global_pool=global_pool, drop_rate=drop_rate
        )
    else:
        classes = 19 if num_classes is None else num_classes
        model = DensePredictor(parts.backbone, parts.decoder, num_classes=classes)
    model.head.to(example(parts.backbone))
    model.pretrained_cfg = parts.pretrained_cfg
    return model
