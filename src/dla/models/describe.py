"""The table of networks, and what each structure makes of a backbone: counted, and not computed."""

from collections.abc import Iterator, Sequence
from functools import partial
from importlib import import_module

import torch
from torch import nn

from dla.costs import macs, parameters
from dla.models.any_backbone import aggregate
from dla.models.variants import VARIANTS, build


def table() -> Iterator[str]:
    """Titles, and a line per network once it is counted: block, depths, channels, residual nodes, parameters, MACs."""
    line = "{:<9} {:<11} {:<8} {:<26} {:<9} {:>11} {:>10}"
    yield line.format("name", "block", "depths", "channels", "residual", "parameters", "MACs @224")
    for name, variant in VARIANTS.items():
        with torch.device("meta"):
            model = build(variant).eval()
        block = getattr(variant.block, "func", variant.block).__name__
        groups = max(m.groups for m in model.modules() if isinstance(m, nn.Conv2d))
        yield line.format(
            name,
            f"{block} {groups}" if groups > 1 else block,
            ",".join(map(str, variant.depths)),
            ",".join(map(str, variant.channels)),
            "yes" if variant.residual else "no",
            f"{parameters(model):,}",
            f"{macs(model) / 1e9:.3f} G",
        )


def describe(name: str, structures: Sequence[str], out_channels: int, out_stride: int | None, size: int) -> str:
    """The maps of the backbone `name`, and what each structure makes of them and costs."""
    if torch.__version__ < "2.10":  # where it cannot be imported for the first time on another device
        import_module("torch._dynamo")
    fused = partial(aggregate, name, out_channels=out_channels, out_stride=out_stride)
    with torch.device("meta"):  # counted, not computed
        models = [fused(structure=structure).eval() for structure in structures]
    backbone = models[0].backbone
    alone = macs(backbone, (size, size))
    maps = ", ".join(f"{channels} at {stride}" for channels, stride in backbone.feature_specs)
    lines = [
        f"{name}: maps of {maps} (channels at stride)",
        f"{'':<9} {parameters(backbone):>12,} parameters {alone / 1e9:>8.3f} G MACs at {size}x{size}",
    ]
    for structure, model in zip(structures, models, strict=True):
        more = macs(model, (size, size)) - alone
        steps = " > ".join(f"{channels} at {stride}" for channels, stride in model.step_specs)
        lines.append(
            f"+{structure:<8} {parameters(model.decoder):>12,} parameters {more / 1e9:>8.3f} G MACs    steps {steps}"
        )
    return "\n".join(lines)
