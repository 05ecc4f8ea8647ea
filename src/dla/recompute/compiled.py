"""Recomputing in a program that torch.compile makes: operations are marked, and the compiler arranges the rest.

By itself it keeps two maps of every layer, as plain training does. It computes again what is marked, together with the
gradient that needs it, which on a processor takes no longer (benchmarks/README.md).
"""

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from torch._guards import TracingContext
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from dla.recompute.operations import fused_again
from dla.recompute.recipe import WITHOUT, Kept

UNCOMPILED = (
    "a network runs uncompiled and keeps all, because something in it breaks the graph of torch.compile (TORCH_LOGS="
    f"graph_breaks says what) or the backend compiles nothing; to have its pieces compiled, {WITHOUT}"
)


def marked(function: Callable[..., Any], macs: int) -> Callable[..., Any]:
    """`function`, in which what is cheap is marked as to be computed again.

    Where something in it breaks the compiler's graph, such as a hook that prints, it runs uncompiled and keeps all.
    """

    def run(*inputs: Any, **options: Any) -> Any:
        whole = partial(function, **options) if options else function
        return checkpoint(whole, *inputs, use_reentrant=False, context_fn=partial(_contexts, macs))

    return run


def _contexts(macs: int) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Those of the forward pass and of computing again."""
    if TracingContext.try_get() is None:  # no program is made: PyTorch calls the function, and would compute all again
        warnings.warn(UNCOMPILED, stacklevel=2)
        return saved_tensors_hooks(Kept, Kept.take), nullcontext()
    return create_selective_checkpoint_contexts(partial(_mark, macs))


def _mark(macs: int, _: Any, operation: Any, *arguments: Any, **options: Any) -> CheckpointPolicy:
    """Recompute, or what the compiler sees fit: of batch norm and pools, it keeps statistics and places of maxima."""
    cheap = fused_again(operation, arguments, macs)
    return CheckpointPolicy.MUST_RECOMPUTE if cheap else CheckpointPolicy.PREFER_SAVE
