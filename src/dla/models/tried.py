"""Which backbones were tried, and with what result: `dla aggregate --list`."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from dla.costs import parameters
from dla.files.tables import markdown
from dla.models.aggregated import Aggregated
from dla.models.any_backbone import aggregate

FAMILIES = {
    "ResNet": "resnet18",
    "ResNeXt": "resnext50_32x4d",
    "DenseNet": "densenet121",
    "ConvNeXt": "convnext_tiny",
    "EfficientNet": "efficientnet_b0",
    "MobileNetV4": "mobilenetv4_conv_small",
    "RegNet": "regnety_008",
    "Swin": "swin_tiny_patch4_window7_224",
    "PVTv2": "pvt_v2_b0",
    "ViT": "vit_tiny_patch16_224",
    "DINOv2": "vit_small_patch14_dinov2",
    "DLA": "dla34",
}
SIZES = ((64, 64), (70, 97), (33, 47), (224, 224))


def _runs(model: Aggregated) -> None:
    for height, width in SIZES:
        out = model(torch.randn(1, 3, height, width))
        expected = (1, model.out_channels, -(-height // model.out_stride), -(-width // model.out_stride))
        if out.shape != expected:
            raise RuntimeError(f"{tuple(out.shape)} instead of {expected}")


def _learns(model: Aggregated) -> None:
    model(torch.randn(2, 3, 70, 97)).square().mean().backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None]
    if idle:
        raise RuntimeError(f"no gradient for {', '.join(idle)}")


@torch.no_grad()
def _channels_last(model: Aggregated) -> None:
    x = torch.randn(2, 3, 70, 97)
    expected = model(x)
    _compare(model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last)), expected)


@torch.no_grad()
def _compiles(model: Aggregated) -> None:
    torch._dynamo.reset()
    x = torch.randn(2, 3, 70, 97)
    # The graph is what can fail; to turn it into machine code takes minutes for each network.
    _compare(torch.compile(model, fullgraph=True, backend="aot_eager")(x), model(x))


@torch.no_grad()
def _exports(model: Aggregated) -> None:
    x = torch.randn(2, 3, 70, 97)
    _compare(torch.export.export(model, (x,)).module()(x), model(x))


def _compare(out: Tensor, expected: Tensor) -> None:
    error = float((out - expected).abs().max() / expected.abs().max())
    if not error < 1e-4:
        raise RuntimeError(f"the largest difference is {error:.1e} of the largest value")


CHECKS: dict[str, Callable[[Aggregated], None]] = {
    "sizes": _runs,
    "gradients": _learns,
    "channels last": _channels_last,
    "export": _exports,
    "compile": _compiles,
}


def try_out(name: str, structure: str) -> list[str]:
    """A backbone's cells in the table: what it is, and of each check "yes" or what went wrong."""
    torch.manual_seed(0)
    try:
        model = aggregate(name, structure=structure).eval()
    except Exception as error:  # whatever goes wrong is the result
        return [_reason(error)]
    strides = ", ".join(str(stride) for _, stride in model.backbone.feature_specs)
    cells = [strides, f"{parameters(model.backbone):,}", f"{parameters(model.decoder):,}"]
    for check in CHECKS.values():
        try:
            check(model)
            cells.append("yes")
        except Exception as error:
            cells.append(_reason(error))
    return cells


def _reason(error: Exception) -> str:
    first_line = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {first_line}"


def table(families: Mapping[str, str], structure: str) -> Iterator[str]:
    """Lines of a Markdown table, one by one: the backbones, really tried."""
    import timm

    yield f"torch {torch.__version__}, timm {timm.__version__}; images of {', '.join(f'{h}x{w}' for h, w in SIZES)}"
    yield ""
    names = ["family", "backbone", "strides", "parameters", f"{structure} adds", *CHECKS]
    yield from markdown(names, ([family, name, *try_out(name, structure)] for family, name in families.items()))
