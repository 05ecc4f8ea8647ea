"""Gradient checkpointing that leaves batch norm's running statistics as plain training would."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint


def checkpointed(module: nn.Module, *inputs: Any, run: Callable[..., Any] | None = None) -> Any:
    """`module(*inputs)`, keeping the inputs alone and running `module` again in the backward pass.

    `run` is the method of `module` to call where that is not its `forward`.
    """
    again = partial(checkpoint, module if run is None else run, *inputs, use_reentrant=False)
    if torch.compiler.is_dynamo_compiling():  # which computes results again, and never writes them to buffers again
        return again()
    return again(context_fn=lambda: (nullcontext(), _statistics_kept(module)))


@contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    # The second run must not count the batch twice. It gets copies to update, and the real buffers come back
    # afterwards, never written: autograd may still hold them.
    norms = [m for m in module.modules() if isinstance(m, _NormBase)]
    kept = [dict(m.named_buffers(recurse=False)) for m in norms]
    for norm, buffers in zip(norms, kept, strict=True):
        for name, buffer in buffers.items():
            setattr(norm, name, buffer.clone())
    try:
        yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            for name, buffer in buffers.items():
                setattr(norm, name, buffer)
