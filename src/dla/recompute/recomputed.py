"""Functions and networks that recompute, called as they are or compiled."""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.fx import Proxy

from dla.recompute.compiled import marked
from dla.recompute.recording import MACS, recomputing

P = ParamSpec("P")
T = TypeVar("T")
Forward = Callable[Concatenate[Any, Tensor, P], T]  # a network's method: itself, images, whatever else


def recomputed(function: Callable[..., T], enable: bool = True, *, macs: int = MACS) -> Callable[..., T]:
    """`function` within `recomputing`, which works through torch.compile, too.

        fast = torch.compile(dla.recomputed(model))

    There the compiler computes again what is cheap, fused with the gradients that need it. PyTorch then logs a warning
    of operations in place, which do no harm: the compiler has replaced them by then. Within gradient checkpointing of
    your own leave it out (`set_memory_efficient(False)`), since it keeps what that drops.

    Args:
        function: a network, or any function of tensors.
        enable: False does nothing.
        macs: see `recomputing`.
    """

    def run(*inputs: Any, **options: Any) -> T:
        if torch.compiler.is_dynamo_compiling():
            wanted = enable and torch.is_grad_enabled()
            return (marked(function, macs) if wanted else function)(*inputs, **options)
        with recomputing(enable, macs=macs):
            return function(*inputs, **options)

    return run


def memory_efficient(forward: Forward[P, T]) -> Forward[P, T]:
    """Make a network's method recompute, as its attribute `memory_efficient` says and `recomputes_on` explains.

    Not compiled with gradient checkpointing, from which the compiler would take what it keeps, nor where nothing is
    trained and the program may be exported.
    """

    @wraps(forward)
    def within(self: Any, x: Tensor, *args: P.args, **kwargs: P.kwargs) -> T:
        enable = recomputes_on(self.memory_efficient, x)
        if torch.compiler.is_dynamo_compiling():
            enable = enable and self.training and not self.grad_checkpointing
        return recomputed(partial(forward, self), enable)(x, *args, **kwargs)

    return within


def recomputes_on(choice: bool | None, images: Tensor) -> bool:
    """Whether a network of ours recomputes in training on these images: None leaves it to where they are.

    On a GPU it keeps all unless compiled, because noting recipes takes the processor longer than the GPU takes for
    small batches, and computing again a tenth of the step for large ones (benchmarks/README.md).
    """
    if choice is not None:
        return choice
    traced = isinstance(images, Proxy)  # by torch.fx, which trains nothing
    return traced or not images.is_cuda or torch.compiler.is_dynamo_compiling()
