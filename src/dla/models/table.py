"""`dla models`: the table of networks, counted and not copied."""

import argparse
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from dla.costs import macs, parameters
from dla.models.variants import VARIANTS, build
from dla.weights import packaged


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


def main(argv: Sequence[str]) -> int:
    """Print the table and how names are made of it."""
    parser = argparse.ArgumentParser(prog="dla models", description="Print the table of networks.")
    parser.parse_args(argv)
    for line in table():
        print(line, flush=True)
    print("\nDense predictors: add up (repeated aggregation, as dla34up) or ida (single, as dla46_cida) to a name.")
    print(f"Names with weights in the package: {', '.join(packaged()) or 'none'}")
    print("The authors' ImageNet weights of each name, on the Hugging Face hub: add .in1k, as in dla34.in1k.")
    print("Detection: dla34_centernet, CenterNet's and FairMOT's network.")
    return 0
