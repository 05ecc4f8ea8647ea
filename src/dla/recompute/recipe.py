"""How a tensor that was not kept is computed again, from tensors that were."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dla.recompute.operations import in_place, overwrites

Results = tuple[Tensor, ...]
WITHOUT = "keep all, by the model's set_memory_efficient(False) or without dla.recomputing() and dla.recomputed()"


class Geometry(NamedTuple):
    """How a whole result lies in its memory."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


class Kept:
    """A tensor that is kept; without its history, which in turn holds what is kept."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor if tensor.grad_fn is None else tensor.detach()
        self.version = _version(tensor)

    def copy(self) -> None:
        """Keep a copy, since the tensor is about to change."""
        self.tensor = self.tensor.clone()
        self.version = _version(self.tensor)

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
        self.asked = 0  # how many times a backward pass asks for a result
        self.awaited = 0  # how many times this one still will
        self.results: Results | None = None
        self.sources = [part.recipe for part in _parts(arguments) if isinstance(part, Place)]

    def expect(self) -> None:
        """A backward pass will ask once more."""
        self.asked += 1
        self.awaited += 1

    def take(self) -> Results:
        """The results, for one of those who await them."""
        order = _order(self)
        if self.awaited == 0:  # another backward pass through the same graph, which will ask for all of them
            for recipe in order:
                recipe.awaited = recipe.awaited or recipe.asked
        self.awaited -= 1
        results = evaluate(self, order)
        if self.awaited == 0:
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


def evaluate(recipe: Recipe, order: Sequence[Recipe]) -> Results:
    """The results of a recipe, by running those in `order`; what nobody else awaits is dropped after its last use."""
    passing: dict[Recipe, Results] = {}  # results that nobody else awaits, each on its way to what it is for
    uses = Counter(source for current in order for source in current.sources)
    for current in order:
        results = _run(current, passing, uses)
        if current.awaited > 0:
            current.results = results
        else:
            passing[current] = results
    return _result(recipe, passing)


def _order(recipe: Recipe) -> list[Recipe]:
    """What has to be run for a recipe's results, each after what it starts from; a loop, since a chain may be long."""
    order: list[Recipe] = []
    seen: set[Recipe] = set()
    waiting = [(recipe, False)]
    while waiting:
        current, sources_ready = waiting.pop()
        if sources_ready:
            order.append(current)
        elif current.results is None and current not in seen:
            seen.add(current)
            waiting.append((current, True))
            waiting += [(source, False) for source in current.sources]
    return order


def _result(recipe: Recipe, passing: dict[Recipe, Results]) -> Results:
    return passing[recipe] if recipe.results is None else recipe.results


def _run(recipe: Recipe, passing: dict[Recipe, Results], uses: Counter[Recipe]) -> Results:
    """Run one operation; what it starts from is there."""
    first = recipe.arguments[0]
    # The memory of a first argument that is needed here for the last time may take the result.
    owned = isinstance(first, Place) and first.view is None and first.recipe in passing and uses[first.recipe] == 1
    values = [_value(argument, passing) for argument in recipe.arguments]
    for source in recipe.sources:
        uses[source] -= 1
        if not uses[source]:
            passing.pop(source, None)
    run = recipe.run
    if owned:
        run = in_place(run, values)
    elif overwrites(run):
        values[0] = values[0].clone()
    out = run(*values, **recipe.options)
    return out if isinstance(out, tuple) else (out,)


def _value(argument: Any, passing: dict[Recipe, Results]) -> Any:
    if isinstance(argument, Place):
        return argument.of(_result(argument.recipe, passing))
    if isinstance(argument, Kept):
        return argument.take()
    return [_value(item, passing) for item in argument] if isinstance(argument, list) else argument


def _version(tensor: Tensor) -> int | None:
    """How often the tensor was written to, where that is counted."""
    return None if tensor.is_inference() else tensor._version


def _parts(arguments: Sequence[Any]) -> Iterator[Any]:
    for argument in arguments:
        yield from argument if isinstance(argument, list) else [argument]
