"""Symbolic blocks and nodes, which record expressions, and the paper's equations expanded by code of their own."""

from collections.abc import Sequence
from typing import Any

from torch import nn

Expression = tuple[Any, ...]  # ("x",), ("P",), ("B", i, input) or ("N", input, input, ...)


class SymbolicBlock(nn.Module):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def forward(self, x: Expression) -> Expression:
        return ("B", self.number, x)


class SymbolicNode(nn.Module):
    def __init__(self, in_channels: Sequence[int], out_channels: int) -> None:
        super().__init__()
        self.fan_in = len(in_channels)

    def forward(self, inputs: Sequence[Expression]) -> Expression:
        assert len(inputs) == self.fan_in
        return ("N", *inputs)


def symbolic_blocks(count: int) -> list[SymbolicBlock]:
    return [SymbolicBlock(i) for i in range(count)]


class Equations:
    """The equations as they are written: a block is the next unused one, whenever an L appears."""

    def __init__(self) -> None:
        self.used = 0

    def block(self, x: Expression) -> Expression:
        self.used += 1
        return ("B", self.used - 1, x)

    def merged(self, n: int, x: Expression, pooled: Expression | None = None) -> Expression:
        """T_n(x) = N([P(x),] R_{n-1}, ..., R_1, L_1, L_2)."""
        results = {n: x}
        for m in range(n - 1, 0, -1):
            results[m] = self.merged(m, results[m + 1])  # R_m = T_m(R_{m+1}), R_{n-1} = T_{n-1}(x)
        l1 = self.block(results[1])
        l2 = self.block(l1)
        inner = [results[m] for m in range(n - 1, 0, -1)]
        return ("N", *([pooled] if pooled else []), *inner, l1, l2)

    def merged_over(self, count: int, x: Expression, pooled: Expression | None = None) -> Expression:
        """Any count: a whole T_n for each binary digit but the last, whose inputs the one last node takes itself."""
        *digits, last = [bit for bit in range(count.bit_length() - 1, -1, -1) if count >> bit & 1]
        inputs = [pooled] if pooled else []
        for n in digits:
            inputs.append(x := self.merged(n, x) if n else self.block(x))
        inputs += self.merged(last, x)[1:] if last else [self.block(x)]
        return inputs[0] if len(inputs) == 1 else ("N", *inputs)

    def reentrant(self, n: int, x: Expression) -> Expression:
        """E_1(x) = N(L_1, L_2); E_n(x) = N(r, E_{n-1}(r)) with r = E_{n-1}(x)."""
        if n == 1:
            l1 = self.block(x)
            return ("N", l1, self.block(l1))
        r = self.reentrant(n - 1, x)
        return ("N", r, self.reentrant(n - 1, r))

    def tree(self, n: int, x: Expression) -> tuple[Expression, Expression]:
        """D_1(x) = (N(L_1, L_2), L_2); (p, u) = D_{n-1}(x), (q, v) = D_{n-1}(u), D_n(x) = (N(p, q), v)."""
        if n == 1:
            l1 = self.block(x)
            l2 = self.block(l1)
            return ("N", l1, l2), l2
        p, u = self.tree(n - 1, x)
        q, v = self.tree(n - 1, u)
        return ("N", p, q), v


def joined(expression: Expression, pooled: Expression) -> Expression:
    """The same last node with the pooled input in front."""
    return ("N", pooled, *expression[1:])


def iterative(xs: Sequence[Expression]) -> Expression:
    """I(x1) = x1; I(x1, ..., xn) = I(N(x1, x2), x3, ..., xn)."""
    return xs[0] if len(xs) == 1 else iterative([("N", xs[0], xs[1]), *xs[2:]])


def skips(xs: Sequence[Expression]) -> Expression:
    """S(x1) = x1; S(x1, ..., xn) = A(S(x2, ..., xn), x1)."""
    return xs[0] if len(xs) == 1 else ("N", skips(xs[1:]), xs[0])


def evaluate(
    expression: Expression, blocks: Sequence[nn.Module], nodes: Sequence[nn.Module], values: dict[Expression, Any]
) -> Any:
    """The value of an expression with these blocks, and these nodes in the order in which they run."""
    waiting, known = list(nodes), {}

    def value(part: Expression) -> Any:
        if part in values:
            return values[part]
        if id(part) not in known:
            inputs = [value(child) for child in part[1:] if isinstance(child, tuple)]
            known[id(part)] = blocks[part[1]](*inputs) if part[0] == "B" else waiting.pop(0)(inputs)
        return known[id(part)]

    result = value(expression)
    assert not waiting
    return result


def nodes_from(expression: Expression, start: Expression) -> int:
    """Nodes on the longest way from `start` to the output, from node to node and not through blocks; -1: none."""
    if expression == start:
        return 0
    if expression[0] != "N":
        return -1
    longest = max(nodes_from(child, start) for child in expression[1:])
    return longest + 1 if longest >= 0 else -1


def everything_in(expression: Expression) -> list[Expression]:
    """All that was computed, each once: what feeds several places is one and the same object."""
    seen: dict[int, Expression] = {}
    pending = [expression]
    while pending:
        if id(part := pending.pop()) not in seen:
            seen[id(part)] = part
            pending += [child for child in part[1:] if isinstance(child, tuple)]
    return list(seen.values())


def blocks_in(expression: Expression) -> set[int]:
    return {part[1] for part in everything_in(expression) if part[0] == "B"}


def count_nodes(expression: Expression) -> int:
    return sum(part[0] == "N" for part in everything_in(expression))
