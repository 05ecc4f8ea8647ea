"""What `dla benchmark` takes, and its help."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from dla.arguments import amount, count
from dla.benchmark.job import INFERENCE_ENGINES
from dla.machine import cores

EXAMPLES = """
what is measured:
  every network in every engine at every batch, in a process of its own; all processes are asked in turn, round after
  round, and stopped while another one is measured. A figure is the median over rounds of each round's median; beside it
  stand the fastest and the slowest round. Weights are random: they do not change the speed.

what is written:
  DIR/table.md     networks, inference and training, with command, device, threads and versions; what an engine cannot
                   run is a row that says why
  DIR/results.csv  the same as plain numbers, with every round
  DIR/picture.png  images per second, and training memory over the time of a step

engines:
  plain: the network called as it is; max-autotune: the same through torch.compile(mode="max-autotune"), which takes
  minutes; the others are those of dla.deploy.optimize, for our networks and others alike. A network behind whose name
  engines stand is measured in these alone: timm/dla34=plain,max-autotune

examples:
  dla benchmark dla34 timm/resnet34 --engines plain,compile,onnxruntime,openvino --batch 1,8 --output runs/engines
  training steps, ours with and without recomputing
    dla benchmark dla34 timm/dla34 timm/resnet34 --engines none --training 8 --output runs/training
  a dense predictor and one of torchvision, at the size of a street scene
    dla benchmark dla34up torchvision/deeplabv3_resnet50 --size 512x1024 --engines plain,openvino --output runs/dense
  training memory over time, from keeping all to computing most again
    dla benchmark --curve dla34,dla60 --training 2 --output runs/curve

exit code:
  0 measured; what an engine cannot run is a row that says why, in results.csv under "error". 2 something is wrong, or
  nothing could be measured, and the message says what. 130 interrupted by Ctrl-C or SIGTERM. Nothing is written before
  all rounds are done.
"""


def parser() -> argparse.ArgumentParser:
    """All arguments of the command."""
    options = argparse.ArgumentParser(
        prog="dla benchmark",
        description="Measure networks in engines side by side: inference, training steps, memory.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = options.add_argument
    add("models", nargs="*", type=_network, metavar="NETWORK", help="name as in dla34, dla34up, timm/resnet34, "
        "torchvision/resnet34, convnext_tiny+ida")  # fmt: skip
    add("--output", required=True, type=Path, metavar="DIR", help="folder to write to; made where it is missing")
    add("--engines", type=_engines, default="plain,eager", metavar="A,B", help=f"of {', '.join(INFERENCE_ENGINES)}; or "
        "none (default: %(default)s)")  # fmt: skip
    add("--batch", type=_numbers, default="1", metavar="N,N", help="images a call of inference (default: %(default)s)")
    add("--size", type=_size, default="224", metavar="HxW", help="of the images; one number is both sides (default: "
        "%(default)s)")  # fmt: skip
    add("--threads", type=count, default=cores(), metavar="N", help="of the processor (default: all cores, "
        "%(default)s)")  # fmt: skip
    add("--rounds", type=count, default=5, metavar="N", help="how often each row is measured (default: %(default)s)")
    add("--seconds", type=amount, default=0.5, metavar="S", help="that a round lasts at least "
        "(default: %(default)s)")  # fmt: skip
    add("--training", type=_numbers, default=[], metavar="N,N", help="measure training steps of so many images, too")
    add("--compile", action="store_true", help="with --training: measure steps through torch.compile, too")
    add("--layout", choices=("channels_last", "contiguous"), default="channels_last", help="of maps in memory, in "
        "training (default: %(default)s)")  # fmt: skip
    add("--curve", type=_names, default=[], metavar="A,B", help="networks whose training memory is measured over the "
        "time of a step, of as many images as --training says (default: 8)")  # fmt: skip
    add("--device", choices=("cpu", "cuda"), default="cpu", help="(default: %(default)s)")
    add("--precision", choices=("float32", "bfloat16", "int8"), default="float32", help="in bfloat16, training is by "
        "autocast (default: %(default)s)")  # fmt: skip
    return options


def _numbers(text: str) -> list[int]:
    return [count(part) for part in text.split(",")]


def _names(text: str) -> list[str]:
    if not all(names := text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME or NAME,NAME")
    return names


def _size(text: str) -> tuple[int, int]:
    """One number for both sides, or HEIGHTxWIDTH."""
    sides = [count(part) for part in text.split("x")]
    if len(sides) > 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH")
    return sides[0], sides[-1]


def _network(text: str) -> tuple[str, Sequence[str] | None]:
    """NAME, or NAME=A,B with engines of its own."""
    name, equals, engines = text.partition("=")
    return name, _engines(engines) if equals else None


def _engines(text: str) -> Sequence[str]:
    names = [] if text == "none" else text.split(",")
    if unknown := [repr(name) for name in names if name not in INFERENCE_ENGINES]:
        choice = ", ".join(INFERENCE_ENGINES)
        raise argparse.ArgumentTypeError(f"unknown engine {', '.join(unknown)}; choose of {choice}, or none alone")
    return names
