"""The command `dla export`: a network to a file of another runtime, compared with the network there."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from dla.arguments import amount, any_amount, count, count_or_0
from dla.commands import DONE, run_command
from dla.deploy.outputs import TOLERANCE, Run
from dla.deploy.runtimes import RUNTIMES
from dla.export.accuracy import accuracy
from dla.export.pictures import Calibration
from dla.export.source import load_source, metadata
from dla.export.val_set import val_set
from dla.export.write import FORMATS, export
from dla.predict import Predictor
from dla.weights.hub import is_hub_name, is_saved
from dla.weights.official import body

SIZES = {"classification": (224, 224), "segmentation": (512, 512), "boundaries": (512, 512), "detection": (512, 512)}

EXAMPLES = """
what is written:
  onnx          NAME.onnx, for ONNX Runtime, TensorRT and others
  openvino      NAME.xml and NAME.bin
  ncnn          NAME.ncnn.param and NAME.ncnn.bin, for one size of image; the images of a batch run one by one
  torch-export  NAME.pt2, which torch.export.load reads without this package
  Batch norm is folded. Files but ncnn's carry classes, mean, std, size and task, each as JSON, by names such as
  dla.mean: metadata in onnx, rt_info in openvino, extra files in torch-export.

examples:
  weights of the package
    dla export dla46_cup.camvid --format onnx --output street.onnx --size 360 480
  any batch and any size of image
    dla export runs/camvid/checkpoints/best.ckpt --format openvino --output street.xml --dynamic
  weights of another program, here CenterNet's, whose images are blue, green, red
    dla export dla34_centernet --weights ctdet_coco_dla_2x.pth --format onnx --output detector.onnx \\
        --mean 0.408 0.447 0.470 --std 0.289 0.274 0.278
  8 bits, with what they cost in accuracy
    dla export runs/fruit/checkpoints/best.ckpt --format onnx --output fruit.onnx \\
        --int8 --calibration data/fruit/train --test data/fruit

exit code:
  0 written and equal to the network within --tolerance, but for --int8; 2 nothing written, and the message says why;
  130 interrupted by Ctrl-C or SIGTERM, nothing written
"""


def main(argv: list[str]) -> int:
    """Run `dla export` with the arguments after these two words, and return the exit code.

    Raises:
        SystemExit: from argparse, with 0 after `--help` and 2 for an argument it does not understand.
    """
    return run_command(
        "export",
        partial(_export, _parser().parse_args(argv)),
        needs="measuring",
        left="nothing is written",
        wrong=(ValueError, OSError, RuntimeError, MemoryError),  # the last two where images are too large
    )


def _export(arguments: argparse.Namespace) -> int:
    if arguments.int8 != (arguments.calibration is not None):
        raise ValueError("--int8 and --calibration FOLDER belong together: give both or neither")
    predictor = load_source(arguments.model, arguments.weights)
    mean, std = arguments.mean or predictor.mean, arguments.std or predictor.std
    if predictor.bands is not None and (arguments.mean or arguments.std):
        raise ValueError(
            f"{arguments.model} says how its {len(predictor.bands)} bands are normalised: leave out --mean and --std"
        )
    predictor = replace(predictor, mean=tuple(mean), std=tuple(std))
    _say_mean(arguments, predictor)
    channels = _channels(predictor, pictures=arguments.int8 or bool(arguments.test))
    size = tuple(arguments.size) if arguments.size else _size(predictor)
    predictor = _of_size(predictor, size)
    facts = metadata(arguments.model, predictor, size)
    print(f"writing {arguments.output} and running it beside the network, minutes for a large one", flush=True)
    compared = export(
        predictor.model,
        arguments.output,
        format=arguments.format,
        shape=(1, channels, *size),
        dynamic=arguments.dynamic,
        metadata=facts,
        calibration=Calibration(predictor, arguments.calibration, size) if arguments.int8 else None,
        tolerance=arguments.tolerance,
        measure=_accuracies(predictor, arguments.test, size, arguments.void) if arguments.test else None,
    )
    for found in compared:
        print(f"images of {found.shape}: differs by at most {found.difference:.1e} of the network's largest output")
    if arguments.int8 and not arguments.test:
        print("of noise, with which 8 bits differ a lot; --test SET says what they cost in accuracy")
    _say_what_is_written(arguments.format, arguments.output, facts)
    return DONE


def _say_mean(arguments: argparse.Namespace, predictor: Predictor) -> None:
    """Where nobody said what mean and std are, they are a guess, which would mislead whoever reads what is written."""
    cfg = getattr(predictor.model, "pretrained_cfg", None) or {}
    told = (arguments.mean and arguments.std) or {"mean", "std"} <= cfg.keys()
    ours = is_hub_name(arguments.weights or "")  # the authors', in timm's copies
    source = arguments.weights or arguments.model
    if not told and not ours and (arguments.weights or is_saved(source)):
        print(
            f"warning: {source} does not say how its images were normalised: {arguments.output.name} gets "
            f"mean {list(predictor.mean)} and std {list(predictor.std)}; give --mean and --std where it was otherwise",
            file=sys.stderr,
        )


def _channels(predictor: Predictor, *, pictures: bool) -> int:
    """Channels of the network's images; where pictures are to go through it, it has to take theirs."""
    channels: int = getattr(body(predictor.model), "in_chans", len(predictor.mean))
    if pictures and channels != len(predictor.mean):
        raise ValueError(
            f"--int8 and --test read RGB pictures, and the network takes images of {channels} channels: call "
            "dla.export.export in Python, whose calibration and measure take any images"
        )
    return channels


def _accuracies(predictor: Predictor, source: str, size: tuple[int, int], void: int) -> Callable[[Run], None]:
    """Prints the network's accuracy and the file's; called when the file is there, since to measure takes minutes."""
    measure = accuracy(predictor, val_set(predictor, source, void=void), size)

    @torch.inference_mode()
    def say(run: Run) -> None:
        network = measure.of(lambda images: [predictor.model(images)])
        print(f"{measure.name} of the network: {network:.4f}", flush=True)
        print(f"{measure.name} of the file:    {measure.of(run):.4f}")

    return say


def _say_what_is_written(format: str, output: Path, facts: dict[str, str]) -> None:
    runtime = RUNTIMES[format]
    if not runtime.metadata:
        print("what the file has no place for:", *(f"  {name}: {fact}" for name, fact in facts.items()), sep="\n")
    print(f"wrote {output}" + (f" and {output.with_suffix(runtime.companion)}" if runtime.companion else ""))


def _size(predictor: Predictor) -> tuple[int, int]:
    return (predictor.crop, predictor.crop) if predictor.crop else SIZES[predictor.task]


def _of_size(predictor: Predictor, size: tuple[int, int]) -> Predictor:
    """A classifier that sees squares of another size cuts them out of pictures of another size; others are resized."""
    if not predictor.crop or size == (predictor.crop, predictor.crop):
        return predictor
    height, width = size
    if height != width:
        return replace(predictor, resize=None, crop=None)
    resize = predictor.resize and round(predictor.resize * height / predictor.crop)
    return replace(predictor, resize=resize, crop=height)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dla export",
        description="Write a network for another runtime, run it there, and compare it with the network.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    help_model = "packaged weights, a .ckpt file, a folder of dla.hub, or a network's name (`dla models`), untrained"
    add("model", metavar="MODEL", help=help_model)
    help_weights = (
        "for a network's name: a file of dla.load_weights, of CenterNet, CenterTrack, FairMOT, timm and others"
    )
    add("--weights", metavar="FILE", help=help_weights)
    add("--format", required=True, choices=FORMATS)
    add("--output", required=True, type=Path, metavar="FILE", help="to write; its folder must exist")
    help_size = "of images (default: a classifier's crop, or 224 224 where it has none; of others 512 512)"
    add("--size", nargs=2, type=count, metavar=("H", "W"), help=help_size)
    help_dynamic = "take any batch and size (openvino from 32 pixels on, torch-export above 32); not in ncnn"
    add("--dynamic", action="store_true", help=help_dynamic)
    add("--int8", action="store_true", help="compute in 8 bits; onnx and openvino")
    add("--calibration", metavar="FOLDER", help="pictures like those to come, of which --int8 learns the ranges")
    add(
        "--test",
        metavar="SET",
        help="measure before and after on the val split of a set: the config.yaml of a run, or a folder of "
        "val/CLASS/NAME.jpg, of val/NAME.jpg beside valannot/NAME.png, or as BSDS500",
    )
    for name, kind in (("mean", any_amount), ("std", amount)):
        help_facts = f"{name} of the network's images, of pixels from 0 to 1 (default: what it says, or ImageNet's)"
        add(f"--{name}", nargs=3, type=kind, metavar=("R", "G", "B"), help=help_facts)
    add("--void", type=count_or_0, default=255, metavar="N", help="void in annotations of a folder (255)")
    add("--tolerance", type=amount, default=TOLERANCE, metavar="T", help="largest difference (default: %(default)s)")
    return parser
