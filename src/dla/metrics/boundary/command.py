"""The commands `dla evaluate-boundaries`, which measures boundary maps, and `dla plot-boundaries`, which compares."""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from dla.arguments import amount, amount_or_0, count, count_or_0
from dla.commands import DONE, run_command
from dla.files import make_folder, read_names
from dla.machine import cores
from dla.metrics.boundary import (
    PRESETS,
    Protocol,
    Scores,
    Suppression,
    draw_curves,
    evaluate_folders,
    read_results,
)
from dla.metrics.boundary.counts import MAX_DIST

EXAMPLES = """
what is read, paired by the name before the suffix; predictions without ground truth are left out:
  PREDICTIONS/NAME.png   8-bit grey, 255 standing for 1; or NAME.npy or NAME.mat, one array (h, w) in [0, 1]
  GROUND_TRUTH/NAME.mat  as in BSDS500, groundTruth{k}.Boundaries; or NAME.png, where not zero is boundary; or, if
                         there is no file, folders NAME with such a PNG of each annotator

what is written:
  DIR/results.json  ods, ois, ap, r50; where the best threshold lies; the counts of each image at each threshold
  DIR/curve.csv     threshold, recall, precision, f
  DIR/curve.png     precision over recall, with the lines of equal F
  DIR/images/       the counts of finished images: the same command, given again, goes on from there. Images whose
                    prediction or ground truth has changed are measured anew, all of them where an option has.

examples:
  maps straight from a network, as HED is measured
    dla evaluate-boundaries out/soft data/BSDS500/data/groundTruth/test --output runs/hed --nms hed
  maps that went through non-maximum suppression already
    dla evaluate-boundaries out/thin data/BSDS500/data/groundTruth/test --output runs/thin
  NYUD, by its custom
    dla evaluate-boundaries out data/nyud/groundTruth --output runs/nyud --nms hed --max-dist 0.011
  two evaluations in one picture
    dla plot-boundaries runs/hed/results.json runs/thin/results.json --output runs/both.png

exit code:
  0 all measured; 2 something is wrong, and the message names it; 130 interrupted by Ctrl-C or SIGTERM. Whatever the
  code, every file in DIR is whole.
"""


def main(argv: list[str]) -> int:
    """Run `dla evaluate-boundaries` with the arguments after these two words, and return the exit code.

    Standard output says what was measured; progress and errors go to standard error.

    Raises:
        SystemExit: from argparse, with 0 after `--help` and 2 for an argument it does not understand.
    """
    return run_command(
        "evaluate-boundaries",
        partial(_evaluate, _parser().parse_args(argv)),
        needs="evaluation",
        left="the same command goes on from here",
        wrong=(ValueError, OSError, RuntimeError),  # the last of a worker that was killed
    )


def _evaluate(arguments: argparse.Namespace) -> int:
    scores = evaluate_folders(
        arguments.predictions,
        arguments.ground_truth,
        arguments.output,
        Protocol(arguments.thresholds, arguments.max_dist, _suppression(arguments)),
        names=read_names(arguments.names, "image") if arguments.names else None,
        workers=arguments.workers,
        console=Console(stderr=True, soft_wrap=True),
    )
    print(f"{_summary(scores)}; written to {arguments.output}")
    return DONE


def plot(argv: list[str]) -> int:
    """Run `dla plot-boundaries` with the arguments after these two words, and return the exit code.

    Raises:
        SystemExit: from argparse, with 0 after `--help` and 2 for an argument it does not understand.
    """
    arguments = _plot_parser().parse_intermixed_args(argv)
    return run_command("plot-boundaries", partial(_plot, arguments), needs="drawing")


def _plot(arguments: argparse.Namespace) -> int:
    results = _named({path: read_results(path) for path in arguments.results})
    make_folder(arguments.output.parent)
    draw_curves(results, arguments.output)
    for name, scores in results.items():
        print(f"{_summary(scores)}  {name}")
    return DONE


def _named(results: Mapping[Path, Scores]) -> dict[str, Scores]:
    """By the folder of each file, or by its path where folders have one name."""
    folders = [path.resolve().parent.name for path in results]
    return {
        str(path) if folders.count(folder) > 1 else folder: scores
        for folder, (path, scores) in zip(folders, results.items(), strict=True)
    }


def _summary(scores: Scores) -> str:
    return f"ODS {scores.ods:.4f}  OIS {scores.ois:.4f}  AP {scores.ap:.4f}  R50 {scores.r50:.4f}"


def _suppression(arguments: argparse.Namespace) -> Suppression | None:
    """The preset, with what the options change of it."""
    given = {name: getattr(arguments, f"nms_{name}") for name in ("smooth", "radius", "margin", "border")}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if arguments.nms == "none":
        if options:
            raise ValueError(f"--nms-{next(iter(options))} says how to suppress: add --nms hed or --nms rcf")
        return None
    return replace(PRESETS[arguments.nms], **options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dla evaluate-boundaries",
        description="Measure predicted boundaries against what people drew, as the benchmark of BSDS500 does.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("predictions", type=Path, metavar="PREDICTIONS", help="folder of boundary maps")
    add("ground_truth", type=Path, metavar="GROUND_TRUTH", help="folder of what the annotators drew")
    add("--output", required=True, type=Path, metavar="DIR", help="folder to write to; made where it is missing")
    help_names = "a name a line, without suffix: the images that count, as of a split (default: all)"
    add("--names", type=Path, metavar="FILE", help=help_names)
    add("--thresholds", type=count, default=99, metavar="K", help="how many, evenly spread (default: 99)")
    help_distance = "of the image's diagonal (default: %(default)s)"
    add("--max-dist", type=amount_or_0, default=MAX_DIST, metavar="D", help=help_distance)
    help_nms = "non-maximum suppression: hed smooths and looks 1 pixel far, rcf 2 without (default: none)"
    add("--nms", choices=(*PRESETS, "none"), default="none", help=help_nms)
    smooth = argparse.BooleanOptionalAction
    add("--nms-smooth", action=smooth, help="smooth the map first, by a triangle of radius 1, or do not")
    add("--nms-radius", type=count, metavar="N", help="how far it looks on either side of a ridge, in pixels")
    add("--nms-margin", type=amount, metavar="X", help="a value stays unless X times it is below those beside it")
    add("--nms-border", type=count_or_0, metavar="N", help="width of the ramp at the image's border, in pixels")
    add("--workers", type=count, default=cores(), metavar="N", help="processes (default: one for each core)")
    return parser


def _plot_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dla plot-boundaries",
        description="Draw the curves of several evaluations into one picture, with the lines of equal F.",
        epilog="A curve has the name of its file's folder, and ODS before it; the dot is where ODS lies. Example:\n"
        "  dla plot-boundaries runs/small/results.json runs/large/results.json --output both.png\n\n"
        "exit code:\n  0 drawn; 2 something is wrong, and the message names it",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("results", nargs="+", type=Path, metavar="RESULTS", help="a results.json")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="picture to write: .png, .svg, .pdf")
    return parser
