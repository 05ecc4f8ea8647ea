"""The command `dla predict`: runs a network over pictures and writes masks, boundary maps or classes."""

import argparse
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress
from torchvision.transforms.v2.functional import get_size

from dla.arguments import amount, amount_or_0, count
from dla.commands import run_command
from dla.files import make_folder
from dla.files.listing import find_images
from dla.images import ImageError
from dla.inference import OVERLAP, WHOLE, WINDOW
from dla.predict.load import load_predictor
from dla.predict.progress import shown
from dla.predict.results import Results, results

ALL_WRITTEN, SOME_SKIPPED = 0, 1
LONGEST_NAME = 255  # bytes that file systems take

EXAMPLES = """
what is written, for street.jpg, at the size a viewer shows it in:
  by a model that segments
    DIR/street.png          the index of the class of each pixel, 8 bits
    DIR/street_overlay.jpg  the picture under the colours of its classes, whose names stand at its right
  by a model that finds boundaries
    DIR/street.png          the probability of a boundary, 255 for 1
    DIR/street_thin.png     the same on the crests alone, 0 elsewhere
    DIR/street_overlay.jpg  the picture under its boundaries
  by a model that classifies
    DIR/predictions.csv     for every picture, the most probable classes with their probabilities, also printed
  each PNG of a georeferenced picture has its place on the map beside it, for GDAL and QGIS, as DIR/street.png.aux.xml

examples:
  one photograph, with the weights that come with the package
    dla predict photo.jpg --model dla46_cup.camvid --output out
  the pictures of a folder (not of the folders in it), with a network of your own
    dla predict frames/ --model runs/camvid/checkpoints/best.ckpt --output out
  a pattern, quoted so that dla expands it; ** goes into folders
    dla predict 'videos/**/*.png' --model dla46_cup.camvid --output out
  slower and better: the mean over three sizes of the picture and their mirror images
    dla predict photo.jpg --model dla46_cup.camvid --output out --scales 0.75 1 1.25 --flip
  an aerial picture with less memory, in smaller windows than by default
    dla predict aerial.tif --model dla46_cup.camvid --output out --window 512

pictures:
  Any size; boundaries need 2 pixels or more on each side. EXIF orientation is applied, transparent parts are laid on
  white, 16-bit grey becomes 8-bit. A network trained on other bands than red, green and blue takes files of those. Of a
  folder, hidden files are left out. Two pictures whose results would have one name, such as a.jpg and a.png, are
  refused.

exit code:
  0 all written; 1 some pictures were unreadable and skipped; 2 nothing was started, or DIR cannot be written to;
  130 interrupted by Ctrl-C or SIGTERM. Whatever the code, every file in DIR is whole.
"""


def main(argv: list[str]) -> int:
    """Run `dla predict` with the arguments after these two words, and return the exit code.

    The last line, on standard output, says what was written; progress and warnings go to standard error.

    Raises:
        SystemExit: from argparse, with 0 after `--help` and 2 for an argument it does not understand.
    """
    arguments = _parser().parse_intermixed_args(argv)
    return run_command("predict", partial(_predict, arguments), needs="finding boundaries")


def _predict(arguments: argparse.Namespace) -> int:
    """Find out whether anything stands in the way, and then predict."""
    paths = find_images(arguments.inputs)
    if arguments.output.is_file():
        raise ValueError(f"--output {arguments.output} is a file: name a folder")
    predictor = load_predictor(arguments.model, _device(arguments.device))
    asked = {name: getattr(arguments, name) for name in ("scales", "flip", "window", "overlap", "top")}
    writer = results(predictor, arguments.output, **asked)
    _check_targets(paths, writer)
    make_folder(arguments.output)
    return _predict_all(paths, writer)


def _check_targets(paths: Sequence[Path], writer: Results) -> None:
    """Refuse to overwrite one picture's results by another's, or a picture by a result; and names too long."""
    sources = {_file(path): path for path in paths}
    owners: dict[str, Path] = {}
    for path in paths:
        for target in writer.targets(path):
            if len(os.fsencode(target.name)) > LONGEST_NAME:
                raise ValueError(f"{path}: its results' names would be longer than file systems take: rename it")
            # Regardless of case, because some file systems do not tell a.png from A.png.
            other = owners.setdefault(target.name.casefold(), path)
            if other != path:
                raise ValueError(
                    f"{other} and {path} would both be written to {target.name}: rename one, or run them one after the "
                    "other with an --output each"
                )
            if target.exists() and (source := sources.get(_file(target))):
                raise ValueError(f"{source} would be overwritten: give another --output")


def _file(path: Path) -> tuple[int, int]:
    """What a path leads to, whatever it is called: where case makes no difference, a.png is A.PNG."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch sees no CUDA device here; use --device cpu, or install a CUDA torch")
    if name == "mps" and not torch.backends.mps.is_available():
        raise ValueError("--device mps: torch sees none of Apple's GPUs here; use --device cpu")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def _predict_all(paths: Sequence[Path], writer: Results) -> int:
    """Predict all pictures under a progress bar, and return the exit code."""
    console = Console(stderr=True, soft_wrap=True)
    written = skipped = 0
    try:
        with Progress(console=console) as progress:
            for path in progress.track(paths, description="predicting"):
                problem = _predict_one(path, writer, progress)
                if problem is None:
                    written += 1
                else:
                    skipped += 1
                    console.print(f"warning: skipped: {problem}", markup=False, highlight=False)
    finally:  # whatever happens, what was predicted is kept
        writer.finish()
        print(f"wrote {written} {writer.noun} to {writer.folder}, skipped {skipped} of {len(paths)} images")
    return SOME_SKIPPED if skipped else ALL_WRITTEN


def _predict_one(path: Path, writer: Results, progress: Progress) -> str | None:
    """Write the results of one picture, or return why it was skipped."""
    try:
        image = writer.predictor.read(path)
        with shown(progress, path.name, writer, image):
            line = writer.write(path, image)
    except ImageError as error:
        return str(error)
    except (RuntimeError, MemoryError) as error:  # on the CPU, torch has no class of its own for this
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and "allocate" not in str(error):
            raise
        height, width = get_size(image)
        return f"{path} ({width} x {height}) is too large for the device's memory{_remedy(writer)}"
    if line is not None:
        print(line)
    return None


def _remedy(writer: Results) -> str:
    if "window" not in writer.inference:  # in classification, where the network sees one small square
        return ""
    return ": try a smaller --window" if writer.inference["window"] else ": try --window 512"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dla predict",
        description="Segment or classify pictures, or find their boundaries: write the results, and pictures of them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="a picture, a folder of pictures, or a quoted pattern")
    help_model = "packaged weights (`dla models`), a .ckpt file, or a folder or name of the Hugging Face hub"
    add("--model", required=True, metavar="NAME_OR_CHECKPOINT", help=help_model)
    add("--output", required=True, type=Path, metavar="DIR", help="folder to write to; made where it is missing")
    help_device = "auto, the default: cuda where there is one; mps is Apple's GPU, on which nobody has run it yet"
    add("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help=help_device)
    add("--scales", nargs="+", type=amount, default=[1.0], metavar="S", help="average over these sizes (default: 1)")
    add("--flip", action="store_true", help="average with the prediction for the mirror image")
    large = f"{WINDOW} in pictures of more than {WHOLE // 10**6} million"
    help_window = f"see N x N pixels at once (default: {large}, else all)"
    add("--window", type=count, metavar="N", help=help_window)
    help_overlap = f"least part of a window that the next one sees, too (default: {OVERLAP})"
    add("--overlap", type=amount_or_0, metavar="F", help=help_overlap)
    add("--top", type=count, metavar="N", help="how many classes to name, in classification (default: 5)")
    return parser
