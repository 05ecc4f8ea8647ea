"""Recomputing in a program that torch.compile makes: operations are marked, and the compiler arranges the rest.

By itself it keeps two maps of every layer, as plain training does. It computes again what is marked, together with the
gradient that needs it, which is less to move and so takes no longer.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from dla.recompute.operations import fused_again


def marked(function: Callable[..., Any], macs: int) -> Callable[..., Any]:
    """`function`, in which what is cheap is marked as to be computed again."""
    contexts = partial(create_selective_checkpoint_contexts, partial(_mark, macs))
    return partial(checkpoint, function, use_reentrant=False, context_fn=contexts)


def _mark(macs: int, _: Any, operation: Any, *arguments: Any, **options: Any) -> CheckpointPolicy:
    """Recompute, or what the compiler sees fit: of batch norm and pools, it keeps statistics and places of maxima."""
    cheap = fused_again(operation, arguments, macs)
    return CheckpointPolicy.MUST_RECOMPUTE if cheap else CheckpointPolicy.PREFER_SAVE
