"""A network to a file of another runtime; the file is run there and compared before it takes its place."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dla.deploy.errors import explained
from dla.deploy.fold import folded_for
from dla.deploy.outputs import TOLERANCE, Metadata, Run, check, expect_tolerance
from dla.deploy.runtimes import RUNTIMES, Batches, module_of
from dla.export.compare import Compared, Shape, compare, noise, sample, shapes_to_compare
from dla.files import atomic_write, refuse_folder
from dla.networks import copied, unwrapped

FORMATS = tuple(RUNTIMES)


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
        dynamic: any batch and size, compared at two others, too; not in ncnn, which takes any batch, of one size.
        metadata: texts that the file carries, by their names; ncnn has no place for them.
        calibration: makes an int8 file, of onnx or openvino, by these batches of normalised images, of `shape` unless
            `dynamic`; it may differ from the network more than `tolerance`, but not the float32 network of which it is
            made.
        tolerance: largest difference of a float32 file, relative to the network's largest output.
        measure: called with the file in its runtime, before the file takes its place.

    Raises:
        DeployError: a package is missing, the network fails, the runtime cannot take it, or the file differs.
        ValueError: the suffix or another argument does not fit the format, or the network is not in float32.
        FileNotFoundError: the folder of `path` is missing.
        IsADirectoryError: a folder has the name of what is to be written.
        OSError: the folder cannot be written to, or has too little room.
    """
    path = Path(path)
    _check_arguments(path, format, calibration is not None, model)
    _check_metadata(metadata or {})
    expect_tolerance(tolerance)
    shapes = shapes_to_compare(shape, dynamic)
    runtime = module_of(format, int8=calibration is not None)
    # Of weights that lie channels last, torch.export warns that a part may be lost.
    whole = copied(unwrapped(model)).eval().cpu().to(memory_format=torch.contiguous_format)
    # Of any size, the exporters would take a batch of 1 for a constant. The images are other ones than those of the
    # comparison, which so finds what an exporter made a constant of.
    example = noise((max(2, shape[0]) if dynamic else shape[0], *shapes[0][1:]), seed=0)
    _check_room(path.parent, whole)
    with _written(path, RUNTIMES[format].companion) as file:
        samples = [sample(whole, one) for one in shapes]  # first, since the rest may take minutes
        ready = folded_for(whole, *samples[0])
        with explained(format):
            runtime.write(ready, example, file, dynamic=dynamic, metadata=metadata or {})
            if calibration is not None:
                _quantize(runtime, file, Batches(calibration, None if dynamic else shape))
            run = runtime.load(file, threads=None)
        compared = [compare(run, one, format) for one in samples]
        if calibration is None:  # what 8 bits compute differs; what they are made of was compared when it was folded
            for found in compared:
                check(found.difference, f"{path}, for images of {found.shape},", tolerance)
        if measure is not None:
            measure(run)
    return compared


def _check_arguments(path: Path, format: str, int8: bool, model: nn.Module) -> None:
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, not {format!r}")
    if not path.name.endswith(RUNTIMES[format].suffix):
        raise ValueError(f"{path} does not end in {RUNTIMES[format].suffix}, as a file of {format} must")
    if int8 and not RUNTIMES[format].int8:
        able = ", ".join(name for name, runtime in RUNTIMES.items() if runtime.int8)
        raise ValueError(f"{format} has no int8 here: choose one of {able}")
    other = {p.dtype for p in model.parameters() if p.is_floating_point()} - {torch.float32}
    if other:
        raise ValueError(f"{format} takes networks in float32, not {other.pop()}: give model.float()")


def _check_metadata(metadata: Metadata) -> None:
    """Before runtimes, which leave out what is no text, write another text for it or say that the network is wrong."""
    for name, fact in metadata.items():
        if not isinstance(name, str) or not isinstance(fact, str):
            raise ValueError(f"metadata must be texts by their names, not {name!r}: {fact!r}; json.dumps makes texts")


def _check_room(folder: Path, model: nn.Module) -> None:
    """Now, since runtimes say anything but that a disk is full."""
    needed = sum(tensor.nbytes for tensor in model.state_dict().values())
    if folder.is_dir() and (free := shutil.disk_usage(folder).free) < needed:
        found = f"{needed / 2**20:.1f} MiB of weights do not fit into the {free / 2**20:.1f} MiB"
        raise OSError(f"{found} that are free in {folder}: make room, or choose another folder")


@contextmanager
def _written(path: Path, companion: str | None) -> Iterator[Path]:
    """Like `atomic_write`, with a second file that the block writes beside the first."""
    if companion:  # before the first file is replaced
        refuse_folder(path.with_suffix(companion))
    with atomic_write(path) as temporary:
        yield temporary
        if companion:  # first, so that the file that is named is never there without it
            with temporary.with_suffix(companion).open("rb+") as written:
                os.fsync(written.fileno())
            temporary.with_suffix(companion).replace(path.with_suffix(companion))


def _quantize(runtime: Any, file: Path, calibration: Iterable[Tensor]) -> None:
    """Put int8 files in the place of the one at `file` and of its companion."""
    folder = file.parent / "int8"
    folder.mkdir()
    runtime.quantize(file, calibration, folder / file.name)
    for written in folder.iterdir():
        written.replace(file.parent / written.name)
