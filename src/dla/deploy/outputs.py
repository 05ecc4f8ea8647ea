"""What networks return, one tensor or a list, tuple or dictionary of them, as a flat list and back; and differences."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dla.deploy.errors import DeployError

Run = Callable[[Tensor], list[Tensor]]
"""What every engine is at its core: images (b, c, h, w) to all outputs, in the order in which the network has them."""
Metadata = Mapping[str, str]
"""Facts that an exported file carries, as texts by their names."""
TOLERANCE = 1e-4  # of float32, relative to the largest output
TOLERANCES = {torch.float16: 1e-2, torch.bfloat16: 5e-2}  # of networks in 16 bits, where folding alone rounds otherwise
TF32 = 1e-2  # of a GPU's convolutions in float32, which multiply numbers of 10 bits unless told otherwise


def flat(output: Any) -> list[Tensor]:
    """All tensors of a network's output.

    Raises:
        DeployError: it holds something else, or nothing.
    """
    values = output.values() if isinstance(output, Mapping) else output
    tensors = list(values) if isinstance(output, Mapping | list | tuple) else [output]
    if not tensors or not all(isinstance(value, Tensor) for value in tensors):
        kinds = ", ".join(sorted({type(value).__name__ for value in tensors})) or f"an empty {type(output).__name__}"
        raise DeployError(f"the network returns {kinds}: a tensor, or a flat list or dictionary of tensors, is needed")
    return tensors


def names(output: Any) -> list[str]:
    """A name of each tensor of an output: its key, or "output", or "output_0", "output_1"."""
    if isinstance(output, Tensor):
        return ["output"]
    return [str(key) for key in output] if isinstance(output, Mapping) else [f"output_{i}" for i in range(len(output))]


def like(output: Any, tensors: Sequence[Tensor]) -> Any:
    """`tensors` in the form of `output`: a tensor, a dictionary with its keys, a tuple, named or not, or a list."""
    if isinstance(output, Tensor):
        return tensors[0]
    if isinstance(output, Mapping):
        return dict(zip(output, tensors, strict=True))
    if hasattr(output, "_make"):  # a named tuple
        return output._make(tensors)
    return tuple(tensors) if isinstance(output, tuple) else list(tensors)


def difference(expected: Sequence[Tensor], found: Sequence[Tensor]) -> float:
    """The largest absolute difference, in the largest absolute value of the tensor that it is in; NaN if one is.

    Equal infinities do not differ, nor does NaN from NaN.

    Raises:
        DeployError: number or shapes of the tensors differ.
    """
    shapes = [[tuple(value.shape) for value in values] for values in (expected, found)]
    if shapes[0] != shapes[1]:
        raise DeployError(f"outputs have shapes {shapes[1]} where the network's have {shapes[0]}: report this as a bug")
    shares = [_share(a, b) for a, b in zip(map(_numbers, expected), map(_numbers, found), strict=True) if a.numel()]
    # Not Python's `max`, which drops a NaN that does not come first.
    return float(torch.stack(shares).max()) if shares else 0.0


def _numbers(output: Tensor) -> Tensor:
    # On the CPU first: Apple's GPUs have no 64 bits.
    return (torch.view_as_real(output) if output.is_complex() else output).detach().cpu().double()


def _share(expected: Tensor, found: Tensor) -> Tensor:
    equal = (expected == found) | (expected.isnan() & found.isnan())
    largest = expected.abs().where(expected.isfinite(), 0).max().clamp(min=1e-30)
    return (expected - found).abs().where(~equal, 0).max() / largest


def tolerance_for(example: Tensor, engine: str) -> float:
    """What an engine may lose on images like these."""
    on_gpu = example.is_cuda and _uses_tf32()
    if example.dtype == torch.float32 and (on_gpu or engine == "tensorrt"):  # which takes TF32 by itself
        return TF32
    return TOLERANCES.get(example.dtype, TOLERANCE)


def _uses_tf32() -> bool:
    """Whether a GPU's convolutions do."""
    if hasattr(torch.backends.cudnn, "conv"):  # of newer torch; once it is set, the older setting may not be read
        return torch.backends.cudnn.conv.fp32_precision == "tf32"
    return torch.backends.cudnn.allow_tf32


def expect_tolerance(tolerance: float) -> None:
    """Refuse what allows nothing.

    Raises:
        ValueError: it is below 0, or no number.
    """
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be at least 0, not {tolerance}")


def check(found: float, where: str, tolerance: float = TOLERANCE) -> None:
    """Refuse a `difference` beyond the tolerance.

    Raises:
        DeployError: it is, or it is no number.
    """
    if not found <= tolerance:  # also where it is no number
        raise DeployError(
            f"{where} differs from the network by {found:.1e} of its largest output, where at most {tolerance:.1e} was "
            "expected: use another engine or format, or allow more where the network itself amplifies rounding"
        )
