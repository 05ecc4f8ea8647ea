"""A network to a file of another runtime; the file is run there and compared before it takes its place."""

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dla.deploy import DeployError, folded
from dla.deploy.outputs import TOLERANCE, Metadata, Run, check, difference, flat
from dla.deploy.runtimes import RUNTIMES, checked, module_of
from dla.files import atomic_write

FORMATS = tuple(RUNTIMES)
ODD = (70, 97)  # at which a file of any size is run as well
Shape = tuple[int, int, int, int]


class Compared(NamedTuple):
    """How far the file's answer is from the network's, in the network's largest output, for images of a shape."""

    shape: Shape
    difference: float


def export(
    model: nn.Module,
    path: str | Path,
    *,
    format: str,
    shape: Shape,
    dynamic: bool = False,
    metadata: Metadata | None = None,
    calibration: Iterable[Tensor] | None = None,
    tolerance: float = TOLERANCE,
    measure: Callable[[Run], None] | None = None,
) -> list[Compared]:
    """Write `model` to `path`, run the file, and compare it; nothing is left of a file that differs too much.

    Args:
        model: maps normalised images to a tensor, or to a list, tuple or dictionary of tensors; it is not changed.
        path: ends in .onnx, .xml (openvino, which writes a .bin beside it), .ncnn.param (likewise) or .pt2.
        format: "onnx", "openvino", "ncnn" or "torch-export".
        shape: of the images, batch first.
        dynamic: any batch and size, compared at a second one too; not in ncnn, which takes any batch, of one size.
        metadata: texts that the file carries, by their names; ncnn has no place for them.
        calibration: makes an int8 file, of onnx or openvino, by these batches of normalised images of `shape`; it may
            differ from the network more than `tolerance`.
        tolerance: largest difference of a float32 file, in the network's largest output.
        measure: called with the file in its runtime, before the file takes its place.

    Raises:
        DeployError: a package is missing, the runtime cannot take the network, or the file differs.
        ValueError: the suffix or another argument does not fit the format.
        FileNotFoundError: the folder of `path` is missing.
    """
    path = Path(path)
    _check_arguments(path, format, calibration is not None)
    runtime = module_of(format)
    whole = copy.deepcopy(model).eval().cpu()
    shapes = [shape, (2, shape[1], *ODD)] if dynamic else [shape]
    # Of any size, the exporters would take a batch of 1 for a constant.
    example = torch.randn(max(2, shape[0]) if dynamic else shape[0], *shape[1:])
    with _written(path, RUNTIMES[format].companion) as file:
        runtime.write(folded(whole), example, file, dynamic=dynamic, metadata=metadata or {})
        if calibration is not None:
            file = _quantized(runtime, file, checked(calibration, None if dynamic else shape))
        run = runtime.load(file, threads=None)
        compared = [_compare(whole, run, one, format) for one in shapes]
        if calibration is None:
            for found in compared:
                check(found.difference, f"{path}, for images of {found.shape},", tolerance)
        if measure is not None:
            measure(run)
    return compared


def _check_arguments(path: Path, format: str, int8: bool) -> None:
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, not {format!r}")
    if not path.name.endswith(RUNTIMES[format].suffix):
        raise ValueError(f"{path} does not end in {RUNTIMES[format].suffix}, as a file of {format} must")
    if int8 and not RUNTIMES[format].int8:
        able = ", ".join(name for name, runtime in RUNTIMES.items() if runtime.int8)
        raise ValueError(f"{format} has no int8 here: choose one of {able}")


@contextmanager
def _written(path: Path, companion: str | None) -> Iterator[Path]:
    """Like `atomic_write`, with a second file that the block writes beside the first."""
    with atomic_write(path) as temporary:
        yield temporary
        if companion:  # first, so that the file that is named is never there without it
            temporary.with_suffix(companion).replace(path.with_suffix(companion))


def _quantized(runtime: Any, file: Path, calibration: Iterable[Tensor]) -> Path:
    """Turn the files at `file` into int8 ones."""
    folder = file.parent / "int8"
    folder.mkdir()
    runtime.quantize(file, calibration, folder / file.name)
    for written in folder.iterdir():
        written.replace(file.parent / written.name)
    return file


@torch.inference_mode()
def _compare(model: nn.Module, run: Run, shape: Shape, format: str) -> Compared:
    images = torch.randn(shape)
    try:
        found = run(images)
    except Exception as error:  # each runtime has its own
        raise DeployError(f"the {format} file fails on images of {shape}: {error}") from error
    return Compared(shape, difference(flat(model(images)), found))
