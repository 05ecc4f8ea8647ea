"""`dla aggregate`: what each structure makes of a backbone and what it costs."""

import argparse
from collections.abc import Sequence
from functools import partial
from importlib import import_module

import torch

from dla.arguments import count
from dla.commands import DONE, run_command
from dla.costs import macs, parameters
from dla.models.any_backbone import DECODERS, aggregate
from dla.models.tried import FAMILIES, table


def main(argv: Sequence[str]) -> int:
    """Describe one backbone, or try all."""
    wrong = (ValueError, TypeError, RuntimeError)  # the last of networks that do not take the size
    return run_command("aggregate", partial(_aggregate, _parser().parse_args(argv)), needs="measuring", wrong=wrong)


def _aggregate(arguments: argparse.Namespace) -> int:
    name, structure = arguments.backbone, arguments.structure
    if arguments.list:
        families = {family: n for family, n in FAMILIES.items() if name in (None, n)} or {"": name}
        for line in table(families, structure or "ida"):
            print(line, flush=True)
    elif name:
        structures = [structure] if structure else list(DECODERS)
        print(describe(name, structures, arguments.out_channels, arguments.out_stride, arguments.size))
    else:
        raise ValueError("name a backbone, or give --list")
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dla aggregate",
        description="Show what each structure makes of a backbone's maps and what it costs; weights are random.",
        epilog="--list alone tries one backbone of each family, which takes some minutes.",
    )
    add = parser.add_argument
    add("backbone", nargs="?", help="a timm model, such as convnext_tiny, or one of `dla models`")
    add("--structure", choices=DECODERS, help="this one alone (with --list: ida unless given)")
    add("--out-channels", type=count, default=64, help="of all fused maps (default %(default)s)")
    add("--out-stride", type=count, help="of the fused map (default: the finest of the backbone)")
    add("--size", type=count, default=224, help="side of the image that the cost is of (default %(default)s)")
    add("--list", action="store_true", help="try a backbone of each family, or the one named")
    return parser


def describe(name: str, structures: Sequence[str], out_channels: int, out_stride: int | None, size: int) -> str:
    """The maps of the backbone `name`, and what each structure makes of them and costs."""
    if torch.__version__ < "2.10":  # where it cannot be imported for the first time on another device
        import_module("torch._dynamo")
    lines: list[str] = []
    for structure in structures:
        with torch.device("meta"):  # counted, not computed
            model = aggregate(name, structure=structure, out_channels=out_channels, out_stride=out_stride).eval()
        backbone = model.backbone
        alone = macs(backbone, (size, size))
        if not lines:
            maps = ", ".join(f"{channels} at {stride}" for channels, stride in backbone.feature_specs)
            lines.append(f"{name}: maps of {maps} (channels at stride)")
            lines.append(f"{'':<9} {parameters(backbone):>12,} parameters {alone / 1e9:>8.3f} G MACs at {size}x{size}")
        more = macs(model, (size, size)) - alone
        steps = " > ".join(f"{channels} at {stride}" for channels, stride in model.step_specs)
        lines.append(
            f"+{structure:<8} {parameters(model.decoder):>12,} parameters {more / 1e9:>8.3f} G MACs    steps {steps}"
        )
    return "\n".join(lines)
