"""`optimize`: a network in one of six engines, called as the network itself was."""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dla.deploy import runtimes
from dla.deploy.errors import DeployError
from dla.deploy.fold import folded_for
from dla.deploy.outputs import Run, check, difference, expect_tolerance, flat, like, tolerance_for
from dla.deploy.torch_engines import compiled, eager
from dla.networks import copied, unwrapped

TORCH = {"eager": eager, "compile": compiled}
INT8 = ("onnxruntime", "openvino")
ENGINES = (*TORCH, *INT8, "ncnn", "tensorrt")


class Deployed:
    """A network in an engine: images of the example's shape and type to what the network gives for them.

    Attributes:
        engine: one of `ENGINES`.
        precision: "float32" or "int8".
        shape: of the images, batch first.
        dtype: of the images.
    """

    def __init__(self, run: Run, answer: Any, *, engine: str, precision: str, example: Tensor) -> None:
        self.engine, self.precision = engine, precision
        self.shape, self.dtype = tuple(example.shape), example.dtype
        self._run, self._answer = run, answer

    def __call__(self, images: Float[Tensor, "b c h w"]) -> Any:
        """A tensor, or tensors in a list, tuple or dictionary, as from the network.

        Raises:
            ValueError: the images are of another shape or type, or no tensor.
        """
        if not isinstance(images, Tensor):
            raise ValueError(f"made for images in a tensor, not in a {type(images).__name__}")
        if tuple(images.shape) != self.shape:
            raise ValueError(f"made for images of {self.shape}, not {tuple(images.shape)}: optimize for this shape")
        if images.dtype != self.dtype:  # which some engines would read as if it were theirs
            raise ValueError(f"made for images in {self.dtype}, not {images.dtype}: convert them by .to({self.dtype})")
        return like(self._answer, self._run(images))


def optimize(
    model: nn.Module,
    *,
    engine: str = "eager",
    example: Float[Tensor, "b c h w"],
    precision: str = "float32",
    threads: int | None = None,
    calibration: Iterable[Float[Tensor, "_ c h w"]] | None = None,
    fold: bool = True,
    tolerance: float | None = None,
) -> Deployed:
    """Make a copy of `model` as fast as `engine` can run it on images of the shape of `example`.

    Batch norm is folded, PyTorch gets channels last in memory, and the other engines get the network by a file that is
    gone afterwards. On a GPU "eager" is one CUDA graph, in 16 bits with fused layers. The result for `example` is
    compared with the network's; of int8, that of the network which is quantised.

    Args:
        model: any module that maps images to a tensor, or to a list, tuple or dictionary of tensors.
        engine: "eager" and "compile" run on the model's device, "onnxruntime", "openvino" and "ncnn" on the CPU,
            "tensorrt" on a GPU by ONNX Runtime; all but the first two need the extra [export].
        example: normalised images. In bfloat16 or float16, which "eager" and "compile" alone take, the network becomes
            so, too.
        precision: "float32", or "int8" in ONNX Runtime and OpenVINO.
        threads: of the engine, which decides for None.
        calibration: for int8, batches of normalised images of the shape of `example`; some hundred images are enough.
        fold: fold batch norm beforehand, where that changes nothing; False gives the engine the network as it is, to
            compare with.
        tolerance: of the comparison, relative to the network's largest output; by default 1e-4, 1e-2 in float16, in
            TensorRT and on a GPU whose convolutions use TF32, and 5e-2 in bfloat16; that of the network's own type, or
            of its outputs', if larger.

    Raises:
        DeployError: the engine is not installed, cannot take the network, or computes something else.
        ValueError: an argument makes no sense.
        TypeError: `model` is no module.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}; expected a module, as dla.create_model makes it")
    _check_arguments(engine, precision, threads, calibration, tolerance)
    _check_example(engine, example)
    whole, example = copied(unwrapped(model)).eval(), example.detach()
    if engine not in TORCH:
        whole, example = whole.cpu(), example.cpu()
    own = _in_own_precision(whole, example)
    with torch.inference_mode():
        answer = whole(own.clone())  # here and below, since a network may change its images in place
    expected = flat(answer)
    ready = folded_for(whole, own, expected) if fold else whole
    if example.is_floating_point():
        ready.to(example.dtype)  # after folding, which rounds less in the network's own precision
    if engine in TORCH:
        run = TORCH[engine](ready, example.clone(), threads)
    else:
        run = runtimes.engine(engine, ready, example.clone(), threads=threads, calibration=calibration)
    least = max(tolerance_for(numbers, engine) for numbers in (example, own, *expected))
    allowed = least if tolerance is None else tolerance
    found = difference(expected, run(example.clone()))
    if precision == "float32":  # what 8 bits compute differs; what they are made of was compared when it was folded
        check(found, engine, allowed)
    return Deployed(run, answer, engine=engine, precision=precision, example=example)


def _in_own_precision(model: nn.Module, images: Tensor) -> Tensor:
    """Images in the type of the network's weights; whole numbers stay, of which the network itself makes others."""
    own = next((p.dtype for p in model.parameters()), images.dtype)
    return images.to(own) if images.is_floating_point() else images


def _check_example(engine: str, example: Any) -> None:
    if not isinstance(example, Tensor) or example.ndim != 4 or not example.numel():
        found = tuple(example.shape) if isinstance(example, Tensor) else type(example).__name__
        raise ValueError(f"example must be a tensor of images (batch, channels, height, width), not {found}")
    if engine not in TORCH and example.dtype != torch.float32:
        raise ValueError(f"{engine} takes images in float32, not {example.dtype}: give model.float(), example.float()")


def _check_arguments(engine: str, precision: str, threads: Any, calibration: Any, tolerance: Any) -> None:
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, not {engine!r}")
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise ValueError(f"threads must be a whole number of at least 1, or None, not {threads!r}")
    if tolerance is not None:
        expect_tolerance(tolerance)
    if precision not in ("float32", "int8"):
        raise ValueError(f"precision must be 'float32' or 'int8', not {precision!r}")
    if precision == "int8" and engine not in INT8:
        raise DeployError(f"{engine} has no int8 here: choose one of {', '.join(INT8)}")
    if (precision == "int8") != (calibration is not None):
        raise ValueError("int8 needs calibration, batches of normalised images, and float32 takes none")
