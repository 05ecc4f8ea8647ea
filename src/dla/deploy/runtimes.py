"""The runtimes that read a file, each in a module of its own that is imported when it is asked for."""

import importlib
import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from torch import Tensor, nn

from dla.deploy import onnx
from dla.deploy.errors import DeployError
from dla.deploy.outputs import Run


class Runtime(NamedTuple):
    """How to reach a runtime.

    Attributes:
        module: here, with `write(model, example, path, *, dynamic, metadata)`, whose example has at least two images
            where `dynamic` is set, `load(path, *, threads)`, which in ncnn also takes `batch`, and, where `int8` is
            set, `quantize(path, calibration, output)`.
        suffix: of its file.
        packages: that must be installed.
        companion: suffix of a second file beside the first.
        int8: can run in 8 bits.
    """

    module: str
    suffix: str
    packages: tuple[str, ...] = ()
    companion: str | None = None
    int8: bool = False


RUNTIMES = {
    "onnx": Runtime("dla.deploy.onnx", ".onnx", ("onnx", "onnxscript", "onnxruntime"), int8=True),
    "openvino": Runtime(
        "dla.deploy.openvino", ".xml", ("openvino", "onnx", "onnxscript", "nncf"), companion=".bin", int8=True
    ),
    "ncnn": Runtime("dla.deploy.ncnn", ".ncnn.param", ("ncnn", "pnnx"), companion=".bin"),
    "torch-export": Runtime("dla.deploy.torch_export", ".pt2"),
}


def module_of(name: str) -> Any:
    """The module of a runtime of `RUNTIMES`.

    Raises:
        DeployError: a package is missing.
    """
    for package in RUNTIMES[name].packages:
        if importlib.util.find_spec(package) is None:
            raise DeployError(f"{name} needs {package}, which is not installed: install the extra [export]")
    return importlib.import_module(RUNTIMES[name].module)


def engine(
    name: str, model: nn.Module, example: Tensor, *, threads: int | None, calibration: Iterable[Tensor] | None
) -> Run:
    """`model` in a runtime, by a file that is gone afterwards; in 8 bits where `calibration` is given.

    Args:
        name: "onnxruntime", "openvino", "ncnn" or "tensorrt".
    """
    if name == "tensorrt":
        onnx.check_provider(onnx.TENSORRT)
    key = "onnx" if name in ("onnxruntime", "tensorrt") else name
    runtime = module_of(key)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"model{RUNTIMES[key].suffix}"
        runtime.write(model, example, path, dynamic=False, metadata={})
        if calibration is not None:
            whole, path = path, path.with_stem("int8")
            runtime.quantize(whole, checked(calibration, example.shape), path)
        if name == "tensorrt":
            return onnx.load(path, threads=threads, provider=onnx.TENSORRT)
        if name == "ncnn":
            return runtime.load(path, threads=threads, batch=len(example))
        return runtime.load(path, threads=threads)


def checked(calibration: Iterable[Tensor], shape: Sequence[int] | None) -> Iterator[Tensor]:
    """The batches by which a runtime learns its ranges.

    Args:
        calibration: the batches.
        shape: that they must have; None for any.

    Raises:
        ValueError: there is none, or one has another shape.
    """
    count = 0
    for count, images in enumerate(calibration, start=1):
        if shape is not None and tuple(images.shape) != tuple(shape):
            raise ValueError(f"calibration batch {count} is {tuple(images.shape)}; expected {tuple(shape)}")
        yield images
    if not count:
        raise ValueError("calibration has no batch: give some hundred images like those to come")
