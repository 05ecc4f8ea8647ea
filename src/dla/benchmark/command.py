"""The command `dla benchmark`: measures networks in engines side by side and makes tables and a picture of them."""

import argparse
from collections.abc import Mapping
from datetime import date
from functools import partial
from importlib import import_module

import torch
from rich.console import Console

from dla.benchmark.costs import Costs, costs
from dla.benchmark.job import CURVE, INFERENCE, TRAINING, Job
from dla.benchmark.options import parser
from dla.benchmark.picture import draw
from dla.benchmark.process import JobError
from dla.benchmark.report import PICTURE, Session, prepare, tables, write_report
from dla.benchmark.rounds import measure
from dla.commands import DONE, command_line, run_command
from dla.machine import cores, device_name, gpu_libraries, versions
from dla.recompute.recording import MACS

CURVE_BATCH = 8  # images a step of a curve, unless --training says otherwise
PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "deep-layer-aggregation",
    "triton",
    "onnxruntime",
    "openvino",
    "nncf",
    "ncnn",
)


def main(argv: list[str]) -> int:
    """Run `dla benchmark` with the arguments after these two words, and return the exit code.

    Standard output gives the tables; progress and errors go to standard error.

    Raises:
        SystemExit: from argparse, with 0 after `--help` and 2 for an argument it does not understand.
    """
    work = partial(_benchmark, parser().parse_args(argv), command_line(["dla", "benchmark", *argv]))
    wrong = (ValueError, OSError, JobError)
    return run_command("benchmark", work, needs="drawing", left="nothing is written", wrong=wrong)


def _benchmark(arguments: argparse.Namespace, command: str) -> int:
    import_module("matplotlib")  # missed now and not after minutes
    session = _measured(arguments, command)
    write_report(arguments.output, session)
    try:
        print("\n".join(tables(session)))
        draw(arguments.output / PICTURE, session)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"all but the picture is written to {arguments.output}") from None
    print(f"\nwritten to {arguments.output}")
    if all(row.error for row in session.measured):
        raise JobError("nothing could be measured; the table says why of each row")
    return DONE


def _measured(arguments: argparse.Namespace, command: str) -> Session:
    """Measure what is asked for.

    Raises:
        ValueError: it is nothing, or a network's name is unknown.
        OSError: the folder cannot be made or written to.
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
        raise ValueError("nothing to measure: name networks, with --training 8 where engines are none, or give --curve")
    prepare(arguments.output)  # before minutes are spent
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
    trained = [name for name, _ in arguments.models] if arguments.training else []
    for batch in arguments.training or [CURVE_BATCH]:
        train = partial(job, TRAINING, batch=batch)
        for name in trained:
            ways = (None, MACS) if counted[name].recomputes else (None,)
            if name not in arguments.curve:  # which goes through both ways, too
                jobs.append(train(model=name, recompute=ways))
            if arguments.compile:
                jobs.append(train(model=name, recompute=ways, compiled=True))
        jobs += [train(model=name, recompute=CURVE) for name in arguments.curve]
    return list(dict.fromkeys(jobs))


def _facts(arguments: argparse.Namespace, command: str) -> dict[str, str]:
    """What the heading says."""
    device = torch.device(arguments.device)
    height, width = arguments.size
    packages = versions(PACKAGES) | (gpu_libraries() if device.type == "cuda" else {})
    return {
        "command": f"`{command}`",
        "date": date.today().isoformat(),
        "device": device_name(device),
        "threads": f"{arguments.threads} of {cores()} cores",
        "precision": f"{arguments.precision}, images of {height}x{width}",
        "versions": ", ".join(f"{name} {number}" for name, number in packages.items()),
        "rounds": f"{arguments.rounds} of at least {arguments.seconds:g} s each, alternated; ms is their median, "
        "beside which stand the fastest and the slowest",
        "training": f"forward, loss, backward and SGD with momentum, {arguments.layout}; memory is "
        + ("what a step took at most" if device.type == "cuda" else "counted in float32, over 8 images,")
        + " beside parameters and gradients",
        "difference": "largest, from the network in float32, relative to its largest output",
    }
