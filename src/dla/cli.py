"""The command line: `dla COMMAND`; for `fit`, `validate` and `test` a recipe is a YAML file plus overrides."""

import os
import sys
from collections.abc import Sequence
from errno import EPIPE
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path

from dla import __version__
from dla.commands import INTERRUPTED
from dla.files import FULL
from dla.images import of_any_size
from dla.names import meant

HELP = """usage: dla COMMAND ...

commands:
  fit        train:           dla fit --config recipes/segmentation/scenes.yaml
  validate   measure on val:  dla validate --config RUN/config.yaml --ckpt_path RUN/checkpoints/best.ckpt
  test       measure on test, with the same arguments
  predict    masks, boundaries or classes of pictures:
                              dla predict photo.jpg --model NAME_OR_CHECKPOINT --output out
  models     print the table of networks
  compare    train the networks of a study under one budget, and compare them:
                              dla compare studies/digits.yaml --output runs/compare_digits
  export     for another runtime: ONNX, OpenVINO, ncnn, torch.export:
                              dla export dla34up --format onnx --output model.onnx
  benchmark  speed and memory of networks and engines side by side:
                              dla benchmark dla34 timm/dla34 --output runs/benchmark
  aggregate  what each structure makes of a backbone:
                              dla aggregate convnext_tiny
  evaluate-boundaries         ODS, OIS and AP of boundary maps:
                              dla evaluate-boundaries PREDICTIONS GROUND_TRUTH --output DIR
  plot-boundaries             several evaluations in one picture:
                              dla plot-boundaries A/results.json B/results.json --output both.png

dla COMMAND --help lists a command's options; those of the task and of the data are listed by
  dla fit --model.help SegmentationTask      (or BoundaryTask, ClassificationTask)
  dla fit --data.help FolderData             your own images and masks; VocData; of outlines
                                             CocoData, LabelMeData, YoloData; CamVidData,
                                             CityscapesData, ScenesData
  dla fit --data.help BoundaryFolderData     your own boundaries; BSDSData, BoundaryScenesData
  dla fit --data.help ImageFolderData        your own classes; CIFARData, DigitsData
  dla fit --data.help CUBData                birds; StanfordCarsData, AircraftData, Food101Data; tars: ShardsData"""

COMMANDS = {
    "aggregate": ("dla.models.command", "aggregate"),
    "benchmark": ("dla.benchmark.command", "main"),
    "compare": ("dla.compare.command", "main"),
    "evaluate-boundaries": ("dla.metrics.boundary.command", "main"),
    "export": ("dla.export.command", "main"),
    "models": ("dla.models.command", "main"),
    "plot-boundaries": ("dla.metrics.boundary.command", "plot"),
    "predict": ("dla.predict.command", "main"),
}
"""Module and function of each command but those of Lightning; imported when asked for."""

CLOSED = 141
"""What a shell says of a program that was ended because its output was closed (128 + SIGPIPE)."""

TRAINING = ("fit", "validate", "test")
"""Lightning's commands."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command that the first word names; the exit code is 0 where all went well."""
    if sys.stdout is None:  # closed, as some daemons leave it
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115, it stays open to the end
    if isinstance(sys.stdout, TextIOWrapper):
        # As standard error does, escape what its encoding lacks: on Windows, that of a file or a pipe lacks a lot.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return _run(list(sys.argv[1:] if args is None else args))
    except KeyboardInterrupt:  # while torch is imported, which takes seconds; later the commands see to it themselves
        print("dla: interrupted", file=sys.stderr)
        return INTERRUPTED


def _dispatch(args: list[str]) -> int:
    command, rest = (args[0], args[1:]) if args else ("--help", [])
    if command in COMMANDS:
        module, function = COMMANDS[command]
        return getattr(import_module(module), function)(rest)
    if command in TRAINING:
        try:
            from dla.tasks.cli import main as train
        except ModuleNotFoundError as error:
            print(f"dla {command}: {error}; install what training needs by the extra [train]", file=sys.stderr)
            return 1
        return train(args)
    if command in ("-V", "--version"):
        print(__version__)
        return 0
    if command in ("-h", "--help", "help"):
        print(HELP)
        return 0
    instead = meant(command, [*COMMANDS, *TRAINING], 1) or "; the commands are listed above"
    print(f"{HELP}\n\ndla: {command!r} is not a command{instead}", file=sys.stderr)
    return 2


def _run(args: list[str]) -> int:
    """Run a command; where nobody reads its output any more, as behind `| head`, it ends quietly."""
    try:
        with of_any_size():
            code = _dispatch(args)
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in (EPIPE, *FULL):
            raise
        # Python writes what is left at its end, which would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == EPIPE:
            return CLOSED
        print(f"dla: {error.filename or 'the output'} cannot be written ({error.strerror}): make room", file=sys.stderr)
        return 1
    return code
