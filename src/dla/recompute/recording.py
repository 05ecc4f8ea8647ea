"""The forward pass, watched: cheap operations leave recipes, by which the backward pass finds what it needs.

    convolution ──> norm ──> (+) ──> activation ──> pool, concatenation ──> convolution
       kept          └────────────── has a recipe ──────────────┘              kept

Plain training keeps two or three maps of every layer: a convolution needs its input, batch norm its own, an activation
its result. All of them follow from what the convolutions gave.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from dla.recompute.notes import Notes, fills
from dla.recompute.operations import WITHOUT_GRAD, concerns, step, tensors, written
from dla.recompute.recipe import Kept, Place, Recipe
from dla.recompute.surroundings import others_save, saved_by, without_autocast

MACS = 64  # see `recomputing`; the knee of the curve of memory against time in benchmarks/README.md


class Recording(TorchDispatchMode):
    """Notes, while it is active, how cheap results came about."""

    supports_higher_order_operators = True  # such as torch.cond

    def __init__(self, macs: int) -> None:
        super().__init__()
        self.macs = macs
        self.notes = Notes()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and note how to run it again."""
        options = kwargs or {}
        if not concerns(func):
            return func(*args, **options)
        changed = written(func, args, options)
        for tensor in changed:
            self.notes.rescue(tensor)
        out = func(*args, **options)
        again = step(func, args, options, out, self.macs) if self._wanted(func, args, changed) else None
        if again and all(fills(result) for result in again.results):
            recipe = Recipe(again.run, [self.notes.source(argument) for argument in again.arguments], again.options)
            for index, result in enumerate(again.results):
                self.notes.add(result, recipe, index)
        else:
            for tensor in changed:
                self.notes.forget(tensor)
        return out

    def pack(self, tensor: Tensor) -> Kept | Place:
        """What is kept in the place of a tensor that the backward pass will need."""
        place = self.notes.place(tensor)
        if place is None:
            return Kept(tensor)
        place.recipe.expect()
        return place

    def _wanted(self, func: Any, args: Sequence[Any], changed: Sequence[Tensor]) -> bool:
        """Whether the results may be saved for the backward pass, and their contents are known."""
        recorded = torch.is_grad_enabled() or func in WITHOUT_GRAD
        if not recorded or saved_by() != self.pack or not any(tensor.requires_grad for tensor in tensors(args)):
            return False
        places = [self.notes.place(tensor) for tensor in changed]
        return all(place is not None and place.view is None for place in places)


def _unpack(packed: Kept | Place) -> Tensor:
    if isinstance(packed, Kept):
        return packed.take()
    # Autocast here would be that of the backward pass; the forward pass had its own, which recipes contain.
    with torch.no_grad(), without_autocast():
        return packed.take()


def recomputing(enable: bool = True, *, macs: int = MACS) -> AbstractContextManager[None]:
    """Within it, the forward pass keeps what convolutions give, and the backward pass computes again what is cheap.

        with dla.recomputing():
            loss = criterion(model(images), labels)
        loss.backward()

    It changes neither results nor random numbers nor running statistics, which the forward pass alone updates;
    gradients agree to rounding. It takes models of any make; what it cannot compute again is kept. Where others decide
    what is saved it does nothing: within itself, gradient checkpointing or other hooks for saved tensors, in
    torch.func, and where torch compiles (for which `recomputed` is made) or traces. What was compiled by itself, such
    as a stage, runs in it as if it were not: compile the network around it, or leave it out. Transforms of torch.func
    cannot begin within it, nor can parameters be freed before the backward pass, as FSDP does: there, leave it out
    (`set_memory_efficient(False)`). What a model adds or multiplies, such as a bias, must stay as it is until the
    backward pass, even where plain training does not ask for that.

    Args:
        enable: False does nothing.
        macs: compute convolutions again too, where an element of their result costs at most so many
            multiply-accumulates: more saves more memory, up to a point, and takes more time. 0 keeps all of them, which
            is best for many networks of others (docs/benchmark.md).
    """
    if not enable or not torch.is_grad_enabled() or torch.compiler.is_compiling() or others_save():
        return nullcontext()
    return _recording(macs)


@contextmanager
def _recording(macs: int) -> Iterator[None]:
    recording = Recording(macs)
    try:
        with saved_tensors_hooks(recording.pack, _unpack), recording:
            yield
    finally:
        recording.notes.clear()  # the hooks live as long as the graph; what the notes refer to must not
