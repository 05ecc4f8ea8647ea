"""Gradient checkpointing that leaves batch norm's running statistics as plain training would."""

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint


def checkpointed(module: nn.Module, *inputs: Any) -> Any:
    """`module(*inputs)`, keeping the inputs alone and running `module` again in the backward pass."""
    again = partial(checkpoint, module, *inputs, use_reentrant=False)
    if torch.compiler.is_dynamo_compiling():  # which computes results again, and never writes them to buffers again
        return again()
    return again(context_fn=lambda: (nullcontext(), _StatisticsKept(module)))


class _StatisticsKept(AbstractContextManager[None]):
    """A run within must not count the batch again; PyTorch enters it for every backward pass through the same graph.

    The norms get copies to update, and the real buffers come back afterwards, never written: autograd may hold them.
    """

    def __init__(self, module: nn.Module) -> None:
        self.norms = [m for m in module.modules() if isinstance(m, _NormBase)]
        self.kept: list[dict[str, Tensor]] = []

    def __enter__(self) -> None:
        self.kept = [dict(m.named_buffers(recurse=False)) for m in self.norms]
        self._give([{name: buffer.clone() for name, buffer in buffers.items()} for buffers in self.kept])

    def __exit__(self, *_: object) -> None:
        self._give(self.kept)

    def _give(self, all_buffers: list[dict[str, Tensor]]) -> None:
        for norm, buffers in zip(self.norms, all_buffers, strict=True):
            for name, buffer in buffers.items():
                setattr(norm, name, buffer)
