"""The runtimes that read a file, each in a module of its own that is imported when it is asked for."""

import importlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dla.deploy import onnx
from dla.deploy.errors import DeployError, brief, explained
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
        int8_packages: that must be installed for that alone.
        metadata: the file has a place for them.
    """

    module: str
    suffix: str
    packages: tuple[str, ...] = ()
    companion: str | None = None
    int8: bool = False
    int8_packages: tuple[str, ...] = ()
    metadata: bool = True


RUNTIMES = {
    "onnx": Runtime("dla.deploy.onnx", ".onnx", ("onnx", "onnxscript", "onnxruntime"), int8=True),
    "openvino": Runtime(
        "dla.deploy.openvino",
        ".xml",
        ("openvino", "onnx", "onnxscript"),
        companion=".bin",
        int8=True,
        int8_packages=("nncf",),
    ),
    "ncnn": Runtime("dla.deploy.ncnn", ".ncnn.param", ("ncnn", "pnnx"), companion=".bin", metadata=False),
    "torch-export": Runtime("dla.deploy.torch_export", ".pt2"),
}


def module_of(name: str, *, int8: bool = False) -> Any:
    """The module of a runtime of `RUNTIMES`; with `int8`, what computing in 8 bits needs is asked for, too.

    Raises:
        DeployError: a package is missing or broken.
    """
    runtime = RUNTIMES[name]
    for package in runtime.packages + (runtime.int8_packages if int8 else ()):
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as error:
            missing = f"{name} needs {error.name}, which is not installed: install the extra [export]"
            raise DeployError(missing) from error
        except Exception as error:  # whatever a damaged installation raises
            raise DeployError(f"{name} needs {package}, which is broken ({brief(error)}): reinstall it") from error
    return importlib.import_module(runtime.module)


def engine(
    name: str, model: nn.Module, example: Tensor, *, threads: int | None, calibration: Iterable[Tensor] | None
) -> Run:
    """`model` in a runtime, by a file that is gone afterwards; in 8 bits where `calibration` is given.

    Args:
        name: "onnxruntime", "openvino", "ncnn" or "tensorrt".
        model: in evaluation mode, on the CPU.
        example: images (b, c, h, w), float32; the file is made for this shape.
        threads: of the runtime, which decides for None.
        calibration: batches for 8 bits; None for float32.

    Raises:
        DeployError: it is not installed, or cannot take the network.
        ValueError: see `Batches`.
    """
    key = "onnx" if name in ("onnxruntime", "tensorrt") else name
    runtime = module_of(key, int8=calibration is not None)
    own: dict[str, dict[str, Any]] = {"tensorrt": {"provider": onnx.TENSORRT}, "ncnn": {"batch": len(example)}}
    options = own.get(name, {})  # of `load`, beside the threads
    if name == "tensorrt":
        onnx.check_provider(onnx.TENSORRT)  # before the export, which may take minutes
    with TemporaryDirectory() as folder, explained(name):
        path = Path(folder) / f"model{RUNTIMES[key].suffix}"
        runtime.write(model, example, path, dynamic=False, metadata={})
        if calibration is not None:
            whole, path = path, path.with_stem("int8")
            runtime.quantize(whole, Batches(calibration, example.shape), path)
        return runtime.load(path, threads=threads, **options)


class Batches:
    """Those by which a runtime learns its ranges, looked at whenever they are gone through, as often as it likes.

    Args:
        calibration: the batches; what can be gone through but once is kept.
        shape: that they must have; None for any.

    Raises:
        ValueError: on going through them, there is none, or one has another shape, is not in float32, or holds what is
            no number.
    """

    def __init__(self, calibration: Iterable[Tensor], shape: Sequence[int] | None) -> None:
        self.calibration = list(calibration) if isinstance(calibration, Iterator) else calibration
        self.shape = shape

    def __iter__(self) -> Iterator[Tensor]:
        """One batch after another."""
        count = 0
        for count, images in enumerate(self.calibration, start=1):
            self._check(images, f"calibration batch {count}")
            yield images
        if not count:
            raise ValueError("calibration has no batch: give some hundred images like those to come")

    def _check(self, images: object, name: str) -> None:
        if not isinstance(images, Tensor) or images.dtype != torch.float32:
            kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
            raise ValueError(f"{name} is {kind}; expected a tensor of normalised images in float32")
        if self.shape is not None and tuple(images.shape) != tuple(self.shape):
            raise ValueError(f"{name} is {tuple(images.shape)}; expected {tuple(self.shape)}")
        if not images.isfinite().all():
            raise ValueError(f"{name} holds NaN or infinity; expected numbers: leave it out")
