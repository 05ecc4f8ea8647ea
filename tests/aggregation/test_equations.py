"""The structures are the paper's: on symbols they give the equations' expressions."""

import pytest
from symbolic import (
    Equations,
    SymbolicNode,
    blocks_in,
    count_nodes,
    iterative,
    joined,
    nodes_from,
    skips,
    symbolic_blocks,
)

from dla import HierarchicalAggregation, IterativeAggregation, Node, SkipAggregation, figure1
from dla.aggregation.hierarchical import half, parts

X, P = ("x",), ("P",)
DEPTHS = range(1, 6)


def hierarchical(structure, count, join=False):
    model = HierarchicalAggregation(
        symbolic_blocks(count), 8, structure=structure, join_channels=4 if join else None, node=SymbolicNode
    )
    return model, model(X, P) if join else model(X)


@pytest.mark.parametrize("depth", DEPTHS)
def test_merged_equation(depth):
    assert hierarchical("merged", 2**depth)[1] == Equations().merged(depth, X)


@pytest.mark.parametrize("depth", DEPTHS)
def test_merged_equation_with_shared_node(depth):
    assert hierarchical("merged", 2**depth, join=True)[1] == Equations().merged(depth, X, pooled=P)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("join", [False, True])
def test_reentrant_equation(depth, join):
    expected = Equations().reentrant(depth, X)
    assert hierarchical("reentrant", 2**depth, join)[1] == (joined(expected, P) if join else expected)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("join", [False, True])
def test_tree_equation(depth, join):
    expected = Equations().tree(depth, X)[0]
    assert hierarchical("tree", 2**depth, join)[1] == (joined(expected, P) if join else expected)


@pytest.mark.parametrize("count", range(1, 6))
def test_iterative_and_skip_equations(count):
    maps = [(f"x{i}",) for i in range(count)]
    assert IterativeAggregation([8] * count, 8, node=SymbolicNode)(maps) == iterative(maps)
    assert SkipAggregation([8] * count, 8, node=SymbolicNode)(maps) == skips(maps)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("structure", ["tree", "reentrant", "merged"])
def test_first_block_passes_through_as_many_nodes_as_the_tree_is_deep(structure, depth):
    model, out = hierarchical(structure, 2**depth)
    assert nodes_from(out, ("B", 0, X)) == depth
    expected = 2 ** (depth - 1) if structure == "merged" else 2**depth - 1
    assert count_nodes(out) == len(model.nodes) == expected
    assert blocks_in(out) == set(range(2**depth))


@pytest.mark.parametrize("count", range(2, 13))
@pytest.mark.parametrize("structure", ["tree", "reentrant", "merged"])
def test_every_node_runs_once_in_the_order_of_the_list(structure, count):
    model, ran = hierarchical(structure, count)[0], []
    for number, node in enumerate(model.nodes):
        node.register_forward_hook(lambda *_, number=number: ran.append(number))
    model(X)
    assert ran == list(range(len(model.nodes)))


@pytest.mark.parametrize("count", range(2, 6))
def test_iterative_is_deep_and_skips_are_shallow(count):
    maps = [(f"x{i}",) for i in range(count)]
    assert nodes_from(IterativeAggregation([8] * count, 8, node=SymbolicNode)(maps), maps[0]) == count - 1
    assert nodes_from(SkipAggregation([8] * count, 8, node=SymbolicNode)(maps), maps[0]) == 1


def is_deep(structure, blocks):
    """Deep: the earliest block passes through at least two nodes, and nodes are not linear."""
    path = nodes_from(figure1(structure, symbolic_blocks(4), 8, node=SymbolicNode)(X), ("B", 0, X))
    nodes = [module for module in figure1(structure, blocks, 8).modules() if isinstance(module, Node)]
    linear = all(type(node.activation).__name__ == "Identity" for node in nodes)
    return path >= 2 and not linear


@pytest.mark.parametrize(
    ("structure", "deep"),
    [("plain", False), ("skip", False), ("iterative", True), ("tree", True), ("reentrant", True), ("merged", True)],
)
def test_deep_is_what_the_paper_calls_deep(structure, deep):
    assert is_deep(structure, symbolic_blocks(4)) == deep


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, [1]), (3, [2, 1]), (6, [4, 1, 1]), (8, [4, 2, 1, 1]), (23, [16, 4, 2, 1])]
)
def test_counts_that_are_no_power_of_two_split_at_the_largest_below(count, sizes):
    assert parts(count) == sizes
    assert sum(sizes) == count
    assert count == 1 or half(count) == sizes[0]


def test_layout_of_six_and_twenty_three_blocks():
    equations = Equations()
    first = equations.merged(2, X)
    l1 = equations.block(first)
    assert hierarchical("merged", 6)[1] == ("N", first, l1, equations.block(l1))

    equations = Equations()
    children = [X]
    for depth in (4, 2, 1):
        children.append(equations.merged(depth, children[-1]))
    assert hierarchical("merged", 23)[1] == ("N", *children[1:], equations.block(children[-1]))


@pytest.mark.parametrize("structure", ["plain", "skip", "iterative", "tree", "reentrant", "merged"])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 7, 12, 23])
def test_any_number_of_blocks_runs_each_once_in_order(structure, count):
    out = figure1(structure, symbolic_blocks(count), 8, node=SymbolicNode)(X)
    assert blocks_in(out) == set(range(count))
    if count == 1:
        assert out == ("B", 0, X)
