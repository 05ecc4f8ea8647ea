"""The forward pass, watched: cheap operations leave recipes, by which the backward pass finds what it needs.

    convolution ──> norm ──> (+) ──> activation ──> pool, concatenation ──> convolution
       kept          └────────────── has a recipe ──────────────┘              kept

Plain training keeps two or three maps of every layer: a convolution needs its input, batch norm its own, an activation
its result. All of them follow from what the convolutions gave.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import enable_reentrant_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

from dla.recompute.operations import step, written
from dla.recompute.recipe import Kept, Place, Recipe

TIDY = 32  # results between two times that notes are tidied
MACS = 64  # see `recomputing`; the knee of the curve of memory against time in benchmarks/README.md


class Recording(TorchDispatchMode):
    """Knows, while it is active, by which recipe the contents of each memory came about."""

    def __init__(self, macs: int) -> None:
        super().__init__()
        self.macs = macs
        self.places: dict[int, tuple[StorageWeakRef, Place]] = {}
        self.tidy_at = TIDY

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and note how to run it again."""
        options = kwargs or {}
        out = func(*args, **options)
        if not torch.is_grad_enabled() or _saved_by() != self.pack:
            return out
        changed = written(func, args, options)
        known = not changed or any(self._place(x) for x in changed)
        again = step(func, args, options, out, self.macs) if known else None
        if again:
            arguments = [self._source(argument) for argument in again.arguments]
            recipe = Recipe(again.run, arguments, again.options)
            for index, result in enumerate(again.results):
                self._note(result, recipe, index)
        else:
            for x in changed:
                self.places.pop(_key(x), None)
        return out

    def pack(self, tensor: Tensor) -> Kept | Place:
        """What is kept in the place of a tensor that the backward pass will need."""
        place = self._place(tensor)
        if place is None:
            return Kept(tensor)
        place.recipe.awaited += 1
        return place

    def _note(self, result: Tensor, recipe: Recipe, index: int) -> None:
        base = (tuple(result.shape), result.stride())
        self.places[_key(result)] = (StorageWeakRef(result.untyped_storage()), Place(recipe, index, base, None))
        if len(self.places) >= self.tidy_at:  # what nobody holds any more needs no recipe, which holds other memory
            self.places = {key: noted for key, noted in self.places.items() if not noted[0].expired()}
            self.tidy_at = len(self.places) + TIDY

    def _place(self, tensor: Tensor) -> Place | None:
        memory, place = self.places.get(_key(tensor), (None, None))
        if place is None or memory is None or memory.expired():
            return None
        size, stride = tuple(tensor.shape), tensor.stride()
        if (size, stride) == place.base and not tensor.storage_offset():
            return place
        return place._replace(view=(size, stride, int(tensor.storage_offset())))

    def _source(self, argument: Any) -> Any:
        if isinstance(argument, Tensor):
            return self._place(argument) or _kept(argument)
        return [self._source(item) for item in argument] if isinstance(argument, list | tuple) else argument


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _kept(tensor: Tensor) -> Kept:
    if tensor.grad_fn is None:
        return Kept(tensor)
    with enable_reentrant_dispatch():  # below autograd, where operations arrive, a copy would not see later changes
        return Kept(tensor)


@torch.no_grad()
def _unpack(packed: Kept | Place) -> Tensor:
    return packed.take()


def recomputing(enable: bool = True, *, macs: int = MACS) -> AbstractContextManager[None]:
    """Within it, the forward pass keeps what convolutions give, and the backward pass computes again what is cheap.

        with dla.recomputing():
            loss = criterion(model(images), labels)
        loss.backward()

    It changes neither results nor random numbers nor running statistics, which the forward pass alone updates;
    gradients agree to rounding. It takes any model, ours or not. Where others decide what is saved it does nothing:
    within itself, gradient checkpointing or other hooks for saved tensors, in torch.func, and where torch compiles or
    traces.

    Args:
        enable: False does nothing.
        macs: compute convolutions again too, where an element of their result costs at most so many
            multiply-accumulates: more saves more memory, up to a point, and takes more time. 0 keeps all of them.
    """
    if not enable or not torch.is_grad_enabled() or torch.compiler.is_compiling() or _others_save():
        return nullcontext()
    return _recording(macs)


def _others_save() -> bool:
    traced = torch._C._is_tracing() or torch._C._functorch.maybe_current_level() is not None
    return traced or _saved_by() is not None


def _saved_by() -> Any:
    """What packs the tensors that are saved for the backward pass, None for autograd itself."""
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(False)
    return hooks[0] if hooks else None


@contextmanager
def _recording(macs: int) -> Iterator[None]:
    recording = Recording(macs)
    try:
        with saved_tensors_hooks(recording.pack, _unpack), recording:
            yield
    finally:
        recording.places.clear()  # the hooks live as long as the graph; what the notes refer to must not
