"""What the structures expect of the channels and blocks that they are given."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Block = Callable[[Any], Any]


def expect_some(in_channels: Sequence[int]) -> None:
    """Raise a ValueError where there are no inputs."""
    if len(in_channels) == 0:
        raise ValueError("in_channels is empty: give the channels of at least one input")


def expect_residual(in_channels: Sequence[int], out_channels: int) -> None:
    """Raise a ValueError where the last input cannot be added to the result."""
    if in_channels[-1] != out_channels:
        raise ValueError(
            f"a residual node adds its last input, so that must have {out_channels} channels, not {in_channels[-1]}"
        )


def expect_maps(inputs: Sequence[Any], channels: Sequence[int]) -> None:
    """Raise a ValueError unless there is a map for each of `channels`, in that order and all of one size.

    Nothing else would notice: other sizes can broadcast, and maps in another order fit the weights, since a convolution
    sees only the sum of the channels. Where that differs the convolution tells, unless pruning changed it. While
    compiling or tracing, sizes may be symbols, and nothing is checked.
    """
    if len(inputs) != len(channels):
        raise ValueError(f"expected {len(channels)} inputs, got {len(inputs)}")
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined]
        return
    shapes = [tuple(x.shape) for x in inputs if isinstance(x, Tensor)]
    if any(len(shape) != 4 for shape in shapes):
        raise ValueError(f"this node takes maps (b, c, h, w), not the shapes {shapes}: give another `node`")
    if any((shape[0], *shape[2:]) != (shapes[0][0], *shapes[0][2:]) for shape in shapes):
        raise ValueError(f"a node's inputs are maps (b, c, h, w) of one size, not of the shapes {shapes}")
    found = [shape[1] for shape in shapes]
    if found and found != list(channels) and sum(found) == sum(channels):
        raise ValueError(f"a node's inputs have {list(channels)} channels in this order, not {found}: swap them")


def guarded(blocks: Sequence[Block], *, first_too: bool = False) -> list[Block]:
    """`blocks`, each of which raises a RuntimeError if it overwrites an input that a node reads later.

    The first may overwrite the stage's input, unless a node reads that, too (`first_too`). Nothing is noticed under
    `torch.inference_mode`, where tensors do not count changes, nor in compiled or exported graphs.
    """
    return [*map(_guarded, blocks)] if first_too else [*blocks[:1], *map(_guarded, blocks[1:])]


def _guarded(block: Block) -> Block:
    def run(x: Any) -> Any:
        before = _changes(x)
        out = block(x)
        if _changes(x) != before:
            raise RuntimeError(
                f"a block ({type(block).__name__}) overwrites its input, which nodes read after it: make its first "
                "operation not in place, such as nn.ReLU() for nn.ReLU(inplace=True)"
            )
        return out

    return run


def _changes(x: Any) -> int:
    """How often a tensor was changed in place, where that is counted."""
    counted = isinstance(x, Tensor) and not torch.compiler.is_compiling() and not x.is_inference()
    return x._version if counted else 0
