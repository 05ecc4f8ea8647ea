"""The command `dla benchmark`: measures networks in engines side by side and makes tables and a picture of them."""

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from dla.arguments import number
from dla.benchmark.costs import Costs, costs
from dla.benchmark.job import INFERENCE, INFERENCE_ENGINES, TRAINING, Job
from dla.benchmark.picture import draw
from dla.benchmark.process import JobError
from dla.benchmark.report import Session, tables, write_report
from dla.benchmark.rounds import measure
from dla.interrupts import stopped_like_ctrl_c
from dla.machine import cores, device_name, versions
from dla.recompute.recording import MACS

DONE, FAILED, INTERRUPTED = 0, 2, 130
CURVE = (None, 0, 16, 32, 64, 128, 150, 256)  # what a curve goes through, from keeping all to computing most again
PACKAGES = ("torch", "torchvision", "timm", "deep-layer-aggregation", "onnxruntime", "openvino", "ncnn")

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
  0 all is measured; 2 something is wrong, or nothing could be measured, and the message says what; 130 interrupted by
  Ctrl-C or SIGTERM. Nothing is written before all rounds are done.
"""


def main(argv: list[str]) -> int:
    """Run `dla benchmark` with the arguments after these two words, and return the exit code.

    Standard output gives the tables; progress and errors go to standard error.

    Raises:
        SystemExit: from argparse, with 0 after `--help` and 2 for an argument it does not understand.
    """
    arguments = _parser().parse_args(argv)
    try:
        with stopped_like_ctrl_c():
            session = _measured(arguments, shlex.join(["dla", "benchmark", *argv]))
        write_report(arguments.output, session)
        draw(arguments.output / "picture.png", session)
    except KeyboardInterrupt:
        print("dla benchmark: interrupted; nothing is written", file=sys.stderr)
        return INTERRUPTED
    except ModuleNotFoundError as error:
        print(f"dla benchmark: error: {error}; install what drawing needs by the extra [train]", file=sys.stderr)
        return FAILED
    except (ValueError, OSError, JobError) as error:
        print(f"dla benchmark: error: {error}", file=sys.stderr)
        return FAILED
    print("\n".join([*tables(session), "", f"written to {arguments.output}"]))
    return FAILED if all(row.error for row in session.measured) else DONE


def _measured(arguments: argparse.Namespace, command: str) -> Session:
    """Measure what is asked for.

    Raises:
        ValueError: it is nothing, or a network's name is unknown.
        OSError: there can be no such folder.
        JobError: the machine's peak cannot be measured.
    """
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("there is no GPU that torch can use here: leave out --device cuda")
    if arguments.compile and not (arguments.training and arguments.models):
        raise ValueError("--compile is of training steps: name networks, and give --training 8, too")
    names = [name for name, _ in arguments.models]
    counted = {name: costs(name, arguments.size) for name in [*names, *arguments.curve]}
    jobs = _jobs(arguments, counted)
    if not jobs:
        raise ValueError("nothing to measure: name networks, or --curve with networks")
    arguments.output.mkdir(parents=True, exist_ok=True)  # before minutes are spent
    measured, peak = measure(jobs, arguments.rounds, arguments.seconds, Console(stderr=True))
    return Session(measured, peak, counted, _facts(arguments, command))


def _jobs(arguments: argparse.Namespace, counted: Mapping[str, Costs]) -> list[Job]:
    """The jobs in the order of the tables, none twice."""
    job = partial(
        Job,
        size=arguments.size,
        threads=arguments.threads,
        device=arguments.device,
        precision=arguments.precision,
        channels_last=arguments.layout == "channels_last",
    )
    jobs = [
        job(INFERENCE, name, engine, batch)
        for batch in arguments.batch
        for name, engines in arguments.models
        for engine in (arguments.engines if engines is None else engines)
    ]
    for batch in arguments.training or ([8] if arguments.curve else []):
        for name, _ in arguments.models if arguments.training else []:
            ways = (None, MACS) if counted[name].recomputes else (None,)
            compiled = (False, True) if arguments.compile else (False,)
            jobs += [job(TRAINING, name, batch=batch, recompute=ways, compiled=through) for through in compiled]
        jobs += [job(TRAINING, name, batch=batch, recompute=CURVE) for name in arguments.curve]
    return list(dict.fromkeys(jobs))


def _facts(arguments: argparse.Namespace, command: str) -> dict[str, str]:
    """What the heading says."""
    device = torch.device(arguments.device)
    height, width = arguments.size
    return {
        "command": f"`{command}`",
        "device": device_name(device),
        "threads": f"{arguments.threads} of {cores()} cores",
        "precision": f"{arguments.precision}, images of {height}x{width}",
        "versions": ", ".join(f"{name} {number}" for name, number in versions(PACKAGES).items()),
        "rounds": f"{arguments.rounds} of at least {arguments.seconds:g} s each, alternated; ms is their median, "
        "beside which stand the fastest and the slowest",
        "training": f"forward, loss, backward and SGD with momentum, {arguments.layout}; memory is "
        + ("what a step took at most" if device.type == "cuda" else "counted in float32, over 8 images,")
        + " beside parameters and gradients",
        "difference": "largest, from the network in float32, relative to its largest output",
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dla benchmark",
        description="Measure networks in engines side by side: inference, training steps, memory.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole = partial(number, kind=int)
    add = parser.add_argument
    add("models", nargs="*", type=_network, metavar="NETWORK", help="name as in dla34, dla34up, timm/resnet34, "
        "torchvision/resnet34")  # fmt: skip
    add("--output", required=True, type=Path, metavar="DIR", help="folder to write to; made where it is missing")
    add("--engines", type=_engines, default=("plain", "eager"), metavar="A,B", help=f"{', '.join(INFERENCE_ENGINES)}, "
        "or none; plain,eager")  # fmt: skip
    add("--batch", type=_numbers, default=[1], metavar="1,8", help="images a call of inference; 1")
    add("--size", type=_size, default=(224, 224), metavar="HxW", help="of the images; one number is both sides; 224")
    add("--threads", type=whole, default=cores(), help="of the processor; all cores")
    add("--rounds", type=whole, default=5, help="how often each row is measured; 5")
    add("--seconds", type=partial(number, kind=float), default=0.5, help="that a round lasts at least; 0.5")
    add("--training", type=_numbers, default=[], metavar="8", help="measure training steps of so many images, too")
    add("--compile", action="store_true", help="measure training steps through torch.compile, too")
    add("--layout", choices=("channels_last", "contiguous"), default="channels_last", help="in memory, of training")
    add("--curve", type=lambda text: text.split(","), default=[], metavar="A,B", help="networks whose training memory "
        "is measured over the time of a step")  # fmt: skip
    add("--device", choices=("cpu", "cuda"), default="cpu", help="cpu")
    add(
        "--precision",
        choices=("float32", "bfloat16", "int8"),
        default="float32",
        help="float32; in bfloat16, training is by autocast",
    )
    return parser


def _numbers(text: str) -> list[int]:
    return [int(number(part, int)) for part in text.split(",")]


def _size(text: str) -> tuple[int, int]:
    """One number for both sides, or HEIGHTxWIDTH."""
    sides = [int(number(part, int)) for part in text.split("x")]
    if len(sides) > 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH")
    return sides[0], sides[-1]


def _network(text: str) -> tuple[str, Sequence[str] | None]:
    """NAME, or NAME=A,B with engines of its own."""
    name, equals, engines = text.partition("=")
    return name, _engines(engines) if equals else None


def _engines(text: str) -> Sequence[str]:
    names = [] if text == "none" else text.split(",")
    if unknown := [name for name in names if name not in INFERENCE_ENGINES]:
        choice = ", ".join(INFERENCE_ENGINES)
        raise argparse.ArgumentTypeError(f"unknown engine {', '.join(unknown)}; choose of {choice}, or none")
    return names
