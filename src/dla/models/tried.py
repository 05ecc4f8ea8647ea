"""`dla aggregate`: what each structure adds to a backbone, and which backbones were tried, with what result."""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module

import torch
from torch import Tensor, nn

from dla.arguments import number
from dla.models.aggregated import Aggregated
from dla.models.any_backbone import DECODERS, aggregate
from dla.models.counting import macs, parameters

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


def describe(name: str, structures: Sequence[str], out_channels: int, out_stride: int | None, size: int) -> str:
    """The maps of the backbone `name`, and what each structure makes of them and costs."""
    if torch.__version__ < "2.10":  # where it cannot be imported for the first time on another device
        import_module("torch._dynamo")
    lines: list[str] = []
    for structure in structures:
        with torch.device("meta"):  # counted, not computed
            model = aggregate(name, structure=structure, out_channels=out_channels, out_stride=out_stride).eval()
        backbone: nn.Module = model.backbone
        alone = macs(backbone, (size, size))
        if not lines:
            maps = ", ".join(f"{channels} at {stride}" for channels, stride in backbone.feature_specs)  # type: ignore[union-attr]
            lines.append(f"{name}: maps of {maps} (channels at stride)")
            lines.append(f"{'':<9} {parameters(backbone):>12,} parameters {alone / 1e9:>8.3f} G MACs at {size}x{size}")
        more = macs(model, (size, size)) - alone
        steps = " > ".join(f"{channels} at {stride}" for channels, stride in model.step_specs)
        lines.append(
            f"+{structure:<8} {parameters(model.decoder):>12,} parameters {more / 1e9:>8.3f} G MACs    steps {steps}"
        )
    return "\n".join(lines)


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


def try_out(family: str, name: str, structure: str) -> str:
    """One line of the table of backbones: each check is "yes", or what went wrong."""
    torch.manual_seed(0)
    try:
        model = aggregate(name, structure=structure).eval()
    except Exception as error:  # whatever goes wrong is the result
        return f"| {family} | {name} | {_reason(error)} |"
    strides = ", ".join(str(stride) for _, stride in model.backbone.feature_specs)  # type: ignore[union-attr]
    cells = [family, name, strides, f"{parameters(model.backbone):,}", f"{parameters(model.decoder):,}"]
    for check in CHECKS.values():
        try:
            check(model)
            cells.append("yes")
        except Exception as error:
            cells.append(_reason(error))
    return f"| {' | '.join(cells)} |"


def _reason(error: Exception) -> str:
    first_line = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {first_line}"


def table(families: Mapping[str, str], structure: str) -> Iterator[str]:
    """Lines of a Markdown table, one by one: the backbones, really tried."""
    import timm

    yield f"torch {torch.__version__}, timm {timm.__version__}; images of {', '.join(f'{h}x{w}' for h, w in SIZES)}"
    yield ""
    yield f"| family | backbone | strides | parameters | {structure} adds | {' | '.join(CHECKS)} |"
    yield "|---" * (5 + len(CHECKS)) + "|"
    for family, name in families.items():
        yield try_out(family, name, structure)


def main(argv: Sequence[str]) -> int:
    """Describe one backbone, or try all."""
    parser = argparse.ArgumentParser(
        prog="dla aggregate",
        description="Show what each structure makes of a backbone's maps and what it costs; weights are random.",
        epilog="--list alone tries one backbone of each family, which takes some minutes.",
    )
    parser.add_argument("backbone", nargs="?", help="a timm model, such as convnext_tiny, or one of `dla models`")
    parser.add_argument("--structure", choices=DECODERS, help="this one alone (with --list: ida unless given)")
    whole = partial(number, kind=int)
    parser.add_argument("--out-channels", type=whole, default=64, help="of all fused maps (default %(default)s)")
    parser.add_argument("--out-stride", type=whole, help="of the fused map (default: the finest of the backbone)")
    parser.add_argument(
        "--size", type=whole, default=224, help="side of the image that the cost is of (default %(default)s)"
    )
    parser.add_argument("--list", action="store_true", help="try a backbone of each family, or the one named")
    arguments = parser.parse_args(argv)
    name = arguments.backbone
    if arguments.list:
        families = {family: n for family, n in FAMILIES.items() if name in (None, n)} or {"": name}
        for line in table(families, arguments.structure or "ida"):
            print(line, flush=True)
        return 0
    if not name:
        parser.error("name a backbone, or give --list")
    structures = [arguments.structure] if arguments.structure else list(DECODERS)
    try:
        print(describe(name, structures, arguments.out_channels, arguments.out_stride, arguments.size))
    except (ValueError, TypeError, RuntimeError) as error:  # the last of networks that do not take the size
        print(f"dla aggregate: {error}", file=sys.stderr)
        return 2
    return 0
