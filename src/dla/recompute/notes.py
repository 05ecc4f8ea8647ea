"""What is known of each memory: by which recipe its contents came about, and which recipes start from them."""

from typing import Any
from weakref import ref

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import enable_reentrant_dispatch

from dla.recompute.recipe import Geometry, Kept, Place, Recipe

TIDY = 32  # notes between two times that those of freed memory are dropped


class Notes:
    """Places of results by their memory; valid until something else writes there."""

    def __init__(self) -> None:
        self.places: dict[int, tuple[StorageWeakRef, Place]] = {}
        self.starts: dict[int, list[ref[Kept]]] = {}  # tensors in that memory from which recipes start
        self.tidy_at = TIDY

    def place(self, tensor: Tensor) -> Place | None:
        """By which recipe the tensor can be computed again; None where there is none."""
        noted = self.places.get(_key(tensor)) if tensor.layout is torch.strided else None
        if noted is None or not plain(tensor):  # asked in this order, since most tensors have no note
            return None
        memory, place = noted
        if memory.expired() or tensor.dtype != place.base.dtype:
            return None
        size, stride = tuple(tensor.shape), tensor.stride()
        if (size, stride) == place.base[:2] and not tensor.storage_offset():
            return place
        return place._replace(view=(size, stride, int(tensor.storage_offset())))

    def add(self, result: Tensor, recipe: Recipe, index: int) -> None:
        """`result`, which `fills` its memory, is one of the results of `recipe`."""
        base = Geometry(tuple(result.shape), result.stride(), result.dtype)
        self.places[_key(result)] = (StorageWeakRef(result.untyped_storage()), Place(recipe, index, base, None))
        if len(self.places) >= self.tidy_at:  # what nobody holds any more needs no recipe, which holds other memory
            self.places = {key: noted for key, noted in self.places.items() if not noted[0].expired()}
            self.starts = {key: found for key, kept in self.starts.items() if (found := [k for k in kept if k()])}
            self.tidy_at = len(self.places) + TIDY

    def source(self, argument: Any) -> Any:
        """An argument of a recipe: tensors by their places, or kept."""
        if isinstance(argument, Tensor):
            return self.place(argument) or self._start(argument)
        return [self.source(item) for item in argument] if isinstance(argument, list | tuple) else argument

    def rescue(self, tensor: Tensor) -> None:
        """Copy what recipes start from, since something is about to write to this memory."""
        for kept in self.starts.pop(_key(tensor), []) if plain(tensor) else []:
            if found := kept():
                found.copy()

    def forget(self, tensor: Tensor) -> None:
        """This memory was written to by something that has no recipe."""
        if plain(tensor):
            self.places.pop(_key(tensor), None)

    def clear(self) -> None:
        """Forget all."""
        self.places.clear()
        self.starts.clear()

    def _start(self, tensor: Tensor) -> Kept:
        kept = _kept(tensor)
        if plain(tensor):
            self.starts.setdefault(_key(tensor), []).append(ref(kept))
        return kept


def plain(tensor: Tensor) -> bool:
    """Whether the tensor is numbers in a memory of its own, as they are there."""
    odd = tensor.layout is not torch.strided or tensor.is_nested
    return not (odd or tensor.is_conj() or tensor.is_neg())


def fills(tensor: Tensor) -> bool:
    """Whether the tensor is all that is in its memory."""
    if not plain(tensor) or tensor.storage_offset():
        return False
    return tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _kept(tensor: Tensor) -> Kept:
    if tensor.grad_fn is None:
        return Kept(tensor)
    with enable_reentrant_dispatch():  # below autograd, where operations arrive, a copy would not see later changes
        return Kept(tensor)
