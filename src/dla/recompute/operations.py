"""Which operations are cheap to compute again, and how that is done without touching statistics or random numbers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._ops import OpOverload

aten = torch.ops.aten

BATCH_NORMS = {aten.native_batch_norm.default, aten.cudnn_batch_norm.default}
"""Each returns the result, and the mean and the inverse standard deviation that it used, of the batch or running."""

ELEMENTWISE = {
    aten.add.Tensor,
    aten.add_.Tensor,
    aten.mul.Tensor,
    aten.cat.default,
    aten.relu.default,
    aten.relu_.default,
    aten.hardtanh.default,
    aten.hardtanh_.default,
    aten.hardswish.default,
    aten.hardswish_.default,
    aten.silu.default,
    aten.silu_.default,
    aten.gelu.default,
    aten.leaky_relu.default,
    aten.leaky_relu_.default,
}
"""Cheap, a function of their arguments alone, and each number of the result of few of theirs."""

REPEATABLE = ELEMENTWISE | {
    aten.max_pool2d_with_indices.default,
    aten.grid_sampler_2d.default,
    aten.batch_norm_elemt.default,
    aten.native_group_norm.default,
    aten.native_layer_norm.default,
}
"""Cheap, and a function of their arguments alone, too."""

WITHOUT_GRAD = {aten.batch_norm_elemt.default}
"""The last step of batch norm over several processes, which needs none of them; it runs in an autograd function."""

HALVES = (torch.float16, torch.bfloat16)

OVERWRITING: dict[Any, Any] = {aten.relu.default: aten.relu_.default, aten.add.Tensor: aten.add_.Tensor}
"""What does the same in the memory of the first argument."""


class Step(NamedTuple):
    """One operation, to be repeated.

    Attributes:
        run: the function.
        arguments: of it; tensors among them, also within lists, are what it starts from.
        options: its keyword arguments.
        results: what the operation gave in the forward pass and `run` gives again, in the same places.
    """

    run: Callable[..., Any]
    arguments: Sequence[Any]
    options: dict[str, Any]
    results: tuple[Tensor, ...]


def step(operation: Any, arguments: Sequence[Any], options: dict[str, Any], out: Any, macs: int) -> Step | None:
    """How the results `out` of an operation are computed again; None where they are better kept.

    Args:
        operation: an overload of `torch.ops`, which has run.
        arguments: of it.
        options: its keyword arguments.
        out: what it returned.
        macs: convolutions with at most so many multiply-accumulates for each element of their result are cheap too.
    """
    if operation in BATCH_NORMS:
        return _batch_norm(operation, arguments, out)
    if operation is aten.max_pool2d_with_indices.default and arguments[0].is_contiguous():
        return Step(_pooled, (arguments[0], _narrow(out[1], arguments[0])), {}, out)
    if operation in REPEATABLE:
        return Step(operation, arguments, options, out[:2] if isinstance(out, tuple) else (out,))
    if _cheap_convolution(operation, arguments, macs):
        return Step(operation, arguments, options, (out,))
    return None


def fused_again(operation: Any, arguments: Sequence[Any], macs: int) -> bool:
    """Whether a compiler should compute the results of an operation again; `macs` is that of `step`."""
    return operation in ELEMENTWISE or _cheap_convolution(operation, arguments, macs)


@cache
def concerns(operation: Any) -> bool:
    """Whether the operation writes to one of its arguments, or has results that may be computed again."""
    return operation in BATCH_NORMS | REPEATABLE | {aten.convolution.default} or overwrites(operation)


@cache
def overwrites(operation: Any) -> bool:
    """Whether it is an operation, and no function or control flow such as torch.cond, that writes to an argument."""
    return isinstance(operation, OpOverload) and operation._schema.is_mutable


def tensors(arguments: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors among arguments, also those within lists."""
    for argument in arguments:
        if isinstance(argument, Tensor):
            yield argument
        elif isinstance(argument, list | tuple):
            yield from tensors(argument)


def written(operation: Any, arguments: Sequence[Any], options: dict[str, Any]) -> list[Tensor]:
    """The tensors to which the operation writes."""
    if not overwrites(operation):
        return []
    return list(tensors(arguments[i] if i < len(arguments) else options.get(name) for i, name in _targets(operation)))


@cache
def _targets(operation: Any) -> list[tuple[int, str]]:
    """Place and name of the arguments to which the operation writes."""
    arguments = enumerate(operation._schema.arguments)
    return [(i, a.name) for i, a in arguments if a.alias_info is not None and a.alias_info.is_write]


def in_place(run: Callable[..., Any], values: Sequence[Any]) -> Callable[..., Any]:
    """The form of `run` that may write to its first value, where there is one that gives the same."""
    if run is aten.add.Tensor and not _alike(values[0], values[1]):
        return run
    return OVERWRITING.get(run, run)


def _alike(first: Tensor, second: Any) -> bool:
    return isinstance(second, Tensor) and first.shape == second.shape and first.dtype == second.dtype


def _cheap_convolution(operation: Any, arguments: Sequence[Any], macs: int) -> bool:
    if operation is not aten.convolution.default:
        return False
    weight, transposed = arguments[1], arguments[6]
    return not transposed and weight[0].numel() <= macs


def _batch_norm(operation: Any, arguments: Sequence[Any], out: Sequence[Tensor]) -> Step:
    x, weight, bias = arguments[:3]
    training, eps = arguments[5], arguments[-1]
    if not training:  # running statistics, copied: the next pass in training mode changes them, which nothing tells
        running = [None if statistic is None else statistic.clone() for statistic in arguments[3:5]]
        return Step(operation, [x, weight, bias, *running, *arguments[5:]], {}, tuple(out[:1]))
    if out[1].dtype in HALVES:  # as CPUs return them: too coarse to normalise with
        return Step(_normalised_anew, (x, weight, bias, eps), {}, tuple(out[:1]))
    return Step(_normalised, (x, weight, bias, out[1], out[2], eps), {}, tuple(out[:1]))


def _normalised(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, inverse_std: Tensor, eps: float
) -> Tensor:
    return F.batch_norm(x, mean, inverse_std.pow(-2) - eps, weight, bias, False, 0.0, eps)


def _normalised_anew(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    return F.batch_norm(x, None, None, weight, bias, True, 0.0, eps)


def _narrow(indices: Tensor, x: Tensor) -> Tensor:
    """Where in its map each maximum lies, in as few bits as a map of the size of `x` needs."""
    return indices.to(torch.int16 if x.shape[-2:].numel() <= torch.iinfo(torch.int16).max else torch.int32)


def _pooled(x: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """What max pooling gave, from where it found it: on CPU, to look for the maxima again takes far longer."""
    wide = indices.long()
    return x.flatten(-2).gather(-1, wide.flatten(-2)).view(wide.shape), wide
