"""What runs around a network's operations: tracing, transforms, autocast, others' hooks for saved tensors.

PyTorch says so by private names alone. They stand here, so that one that is renamed has one place.
"""

from contextlib import AbstractContextManager
from typing import Any

import torch

autograd: Any = torch._C._autograd


def others_save() -> bool:
    """Whether others decide what is saved for the backward pass, or no such pass is made."""
    traced = torch._C._is_tracing() or transformed()
    return traced or not autograd._saved_tensors_hooks_is_enabled() or saved_by() is not None


def transformed() -> bool:
    """Whether this is within a transform of torch.func, such as vmap."""
    return torch._C._functorch.maybe_current_level() is not None


def saved_by() -> Any:
    """What packs the tensors that are saved for the backward pass, None for autograd itself."""
    hooks = autograd._top_saved_tensors_default_hooks(False)
    return hooks[0] if hooks else None


def without_autocast() -> AbstractContextManager[None]:
    """No autocast within, on any device."""
    return torch._C._DisableAutocast()
