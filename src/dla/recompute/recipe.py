"""How a tensor that was not kept is computed again, from tensors that were."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dla.recompute.operations import in_place, overwrites

Results = tuple[Tensor, ...]
WITHOUT = "keep all, by the model's set_memory_efficient(False) or without dla.recomputing()"


class Geometry(NamedTuple):
    """How a whole result lies in its memory."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


class Kept:
    """A tensor that is kept; without its history, which in turn holds what is kept."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor if tensor.grad_fn is None else tensor.detach()
        self.version = None if tensor.is_inference() else tensor._version

    def copy(self) -> None:
        """Keep a copy, since the tensor is about to change."""
        self.tensor = self.tensor.clone()
        self.version = self.tensor._version

    def take(self) -> Tensor:
        """The tensor.

        Raises:
            RuntimeError: it was changed or freed meanwhile.
        """
        if self.version is not None and self.tensor._version != self.version:
            raise RuntimeError(
                f"a tensor of shape {tuple(self.tensor.shape)} that the backward pass needs was changed in place "
                f"before it: change a copy, or {WITHOUT}"
            )
        if self.tensor.layout is torch.strided and self.tensor.numel() and not self.tensor.untyped_storage().nbytes():
            raise RuntimeError(
                f"a tensor of shape {tuple(self.tensor.shape)} that the backward pass needs was freed before it, as "
                f"FSDP frees parameters: {WITHOUT}"
            )
        return self.tensor


class Recipe:
    """An operation and its arguments, each kept or with a recipe of its own.

    What several parts of the backward pass need is computed for the first of them and dropped after the last.
    """

    def __init__(self, run: Callable[..., Any], arguments: Sequence[Any], options: dict[str, Any]) -> None:
        self.run, self.arguments, self.options = run, arguments, options
        self.awaited = 0  # how many times the backward pass will still ask for a result
        self.results: Results | None = None
        self.sources = [part.recipe for part in _parts(arguments) if isinstance(part, Place)]

    def take(self) -> Results:
        """The results, for one of those who await them."""
        self.awaited -= 1
        results = evaluate(self)
        if self.awaited <= 0:
            self.results = None
        return results


class Place(NamedTuple):
    """Where in a recipe's results a tensor lies: which of them, and its geometry in that one's memory."""

    recipe: Recipe
    position: int
    base: Geometry
    view: tuple[tuple[int, ...], tuple[int, ...], int] | None  # size, stride and offset; None for the whole

    def take(self) -> Tensor:
        """The tensor, for one of those who await it."""
        return self.of(self.recipe.take())

    def of(self, results: Results) -> Tensor:
        """The tensor among the recipe's results."""
        whole, (size, stride, dtype) = results[self.position], self.base
        if whole.stride() != stride:
            whole = torch.empty_strided(size, stride, dtype=dtype, device=whole.device).copy_(whole)
        return whole if self.view is None else whole.as_strided(*self.view)


def evaluate(recipe: Recipe) -> Results:
    """The results of a recipe, and on the way those of what it starts from; a loop, since a chain may be long."""
    passing: dict[Recipe, Results] = {}  # results that nobody else awaits, each on its way to the operation it is for
    waiting = [recipe]
    while waiting:
        missing = [source for source in waiting[-1].sources if source.results is None and source not in passing]
        if missing and _result(waiting[-1], passing) is None:
            waiting += missing
            continue
        current = waiting.pop()
        if _result(current, passing) is None:
            results = _run(current, passing)
            if current.awaited > 0:
                current.results = results
            else:
                passing[current] = results
    found = _result(recipe, passing)
    assert found is not None
    return found


def _result(recipe: Recipe, passing: dict[Recipe, Results]) -> Results | None:
    return recipe.results if recipe.results is not None else passing.get(recipe)


def _run(recipe: Recipe, passing: dict[Recipe, Results]) -> Results:
    """Run one operation; what it starts from is there."""
    first = recipe.arguments[0]
    # The memory of a first argument that is needed here alone may take the result.
    owned = isinstance(first, Place) and first.view is None and first.recipe in passing
    owned = owned and recipe.sources.count(first.recipe) == 1
    values = [_value(argument, passing) for argument in recipe.arguments]
    for source in recipe.sources:
        passing.pop(source, None)
    run = recipe.run
    if owned:
        run = in_place(run, values)
    elif isinstance(run, torch._ops.OpOverload) and overwrites(run):
        values[0] = values[0].clone()
    out = run(*values, **recipe.options)
    return out if isinstance(out, tuple) else (out,)


def _value(argument: Any, passing: dict[Recipe, Results]) -> Any:
    if isinstance(argument, Place):
        results = _result(argument.recipe, passing)
        assert results is not None
        return argument.of(results)
    if isinstance(argument, Kept):
        return argument.take()
    return [_value(item, passing) for item in argument] if isinstance(argument, list) else argument


def _parts(arguments: Sequence[Any]) -> Iterator[Any]:
    for argument in arguments:
        yield from argument if isinstance(argument, list) else [argument]
