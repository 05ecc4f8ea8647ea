"""`dla models`, the table of networks, and `dla aggregate`, what each structure makes of a backbone and costs."""

import argparse
from collections.abc import Sequence
from functools import partial

from dla.arguments import count
from dla.commands import DONE, run_command
from dla.models import DECODERS, describe, tried
from dla.weights import packaged


def main(argv: Sequence[str]) -> int:
    """Print the table and how names are made of it."""
    parser = argparse.ArgumentParser(prog="dla models", description="Print the table of networks.")
    parser.parse_args(argv)
    for line in describe.table():
        print(line, flush=True)
    print("\nDense predictors: add up (repeated aggregation, as dla34up) or ida (single, as dla46_cida) to a name.")
    print(f"Names with weights in the package: {', '.join(packaged()) or 'none'}")
    print("The authors' ImageNet weights of each name, on the Hugging Face hub: add .in1k, as in dla34.in1k.")
    print("Detectors: add _centernet; dla34_centernet is CenterNet's and FairMOT's network.")
    return DONE


def aggregate(argv: Sequence[str]) -> int:
    """Describe one backbone, or try all."""
    wrong = (ValueError, TypeError, RuntimeError)  # the last of networks that do not take the size
    return run_command("aggregate", partial(_aggregate, _parser().parse_args(argv)), needs="measuring", wrong=wrong)


def _aggregate(arguments: argparse.Namespace) -> int:
    name, structure = arguments.backbone, arguments.structure
    if arguments.list:
        families = {family: n for family, n in tried.FAMILIES.items() if name in (None, n)} or {"": name}
        for line in tried.table(families, structure or "ida"):
            print(line, flush=True)
    elif name:
        structures = [structure] if structure else list(DECODERS)
        print(describe.describe(name, structures, arguments.out_channels, arguments.out_stride, arguments.size))
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
