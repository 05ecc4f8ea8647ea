"""The structures as PyTorch modules: values, gradients, state dicts, arguments."""

from functools import partial

import pytest
import torch
from torch import nn

from dla import HierarchicalAggregation, IterativeAggregation, Node, SkipAggregation, TokenNode, figure1
from dla.aggregation import FIGURE1, IdentityNode


def conv_blocks(count, channels=8):
    return [nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.Tanh()) for _ in range(count)]


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("channels", [[4], [4, 6], [2, 3, 4, 5, 6]])
def test_a_node_convolves_each_input_and_adds(kernel_size, channels):
    node = Node(channels, 6, kernel_size=kernel_size, norm=None, activation=None)
    maps = [torch.randn(2, c, 9, 7) for c in channels]
    weights = node.conv.weight.split(channels, dim=1)
    parts = [nn.functional.conv2d(x, w, padding=kernel_size // 2) for x, w in zip(maps, weights, strict=True)]
    torch.testing.assert_close(node(maps), torch.stack(parts).sum(0), rtol=1e-5, atol=1e-6)


def test_node_is_its_equation():
    node = Node([3, 5], 5, residual=True).eval()
    node.norm.running_mean.normal_()
    node.norm.running_var.uniform_(0.5, 2)
    x1, x2 = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 4, 4)
    w1, w2 = node.conv.weight[:, :3, 0, 0], node.conv.weight[:, 3:, 0, 0]
    mixed = torch.einsum("oi,bihw->bohw", w1, x1) + torch.einsum("oi,bihw->bohw", w2, x2)
    scale = (node.norm.weight / (node.norm.running_var + node.norm.eps).sqrt())[:, None, None]
    normed = (mixed - node.norm.running_mean[:, None, None]) * scale + node.norm.bias[:, None, None]
    torch.testing.assert_close(node([x1, x2]), (normed + x2).clamp(min=0), rtol=1e-5, atol=1e-5)


def test_node_has_no_bias_and_takes_any_norm_and_activation():
    assert Node([4, 4], 8).conv.bias is None
    node = Node([4, 4], 8, norm=partial(nn.GroupNorm, 2), activation=nn.GELU)
    assert isinstance(node.norm, nn.GroupNorm)
    assert isinstance(node.activation, nn.GELU)


def test_skips_are_linear():
    skip = SkipAggregation([4, 6, 8], 4)
    a, b = ([torch.randn(1, c, 5, 5) for c in (4, 6, 8)] for _ in range(2))
    both = [2 * x + 3 * y for x, y in zip(a, b, strict=True)]
    torch.testing.assert_close(skip(both), 2 * skip(a) + 3 * skip(b), rtol=1e-4, atol=1e-5)


def test_iterative_steps_end_in_the_result():
    iterative = IterativeAggregation([4, 6, 8], 5).eval()
    maps = [torch.randn(1, c, 5, 5) for c in (4, 6, 8)]
    steps = iterative.steps(maps)
    assert [step.shape[1] for step in steps] == [4, 5, 5]
    torch.testing.assert_close(steps[-1], iterative(maps))


@pytest.mark.parametrize("structure", FIGURE1)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
def test_every_parameter_gets_a_gradient(structure, count):
    model = figure1(structure, conv_blocks(count), 8)
    model(torch.randn(2, 8, 6, 5)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize("structure", ["tree", "reentrant", "merged"])
def test_a_joined_map_enters_the_last_node_first(structure):
    model = HierarchicalAggregation(conv_blocks(4), 8, structure=structure, join_channels=3)
    assert [node.in_channels[0] for node in model.nodes] == [8] * (len(model.nodes) - 1) + [3]
    x, pooled = torch.randn(2, 8, 6, 6), torch.randn(2, 3, 6, 6, requires_grad=True)
    model(x, pooled).sum().backward()
    assert pooled.grad.abs().sum() > 0


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="one of tree, reentrant, merged, not 'fpn'"):
        HierarchicalAggregation(conv_blocks(2), 8, structure="fpn")
    with pytest.raises(ValueError, match=r"structure must be one of plain, skip, .*, not 'fpn'"):
        figure1("fpn", conv_blocks(2), 8)
    with pytest.raises(ValueError, match="1 blocks: at least 1 is needed, and 2 where"):
        HierarchicalAggregation(conv_blocks(1), 8, join_channels=8)
    with pytest.raises(ValueError, match="at least 1 is needed"):
        HierarchicalAggregation([], 8)
    with pytest.raises(ValueError, match="must have 6 channels, not 4"):
        Node([6, 4], 6, residual=True)
    with pytest.raises(ValueError, match="expected 2 inputs, got 1"):
        Node([6, 4], 6)([torch.zeros(1, 6, 2, 2)])
    with pytest.raises(ValueError, match=r"kernel_size must be odd, .* not 2"):
        Node([6, 4], 6, kernel_size=2)
    with pytest.raises(ValueError, match="expected 2 maps, got 3"):
        IterativeAggregation([4, 4], 4)([torch.zeros(1, 4, 2, 2)] * 3)
    with pytest.raises(ValueError, match="disagree"):
        HierarchicalAggregation(conv_blocks(2), 8)(torch.zeros(1, 8, 2, 2), torch.zeros(1, 8, 2, 2))


@pytest.mark.usefixtures("unchecked_shapes")
def test_inputs_that_are_no_maps_alike_are_refused():
    node = Node([4, 2], 8, norm=None)
    with pytest.raises(ValueError, match=r"maps .* of one size, not of the shapes"):
        node([torch.randn(1, 4, 6, 6), torch.randn(1, 2, 1, 1)])
    with pytest.raises(ValueError, match=r"have \[4, 2\] channels in this order, not \[2, 4\]: swap them"):
        node([torch.randn(1, 2, 6, 6), torch.randn(1, 4, 6, 6)])
    with pytest.raises(ValueError, match=r"takes maps .* give another `node`"):
        node([torch.randn(4, 6, 6), torch.randn(2, 6, 6)])


@pytest.mark.parametrize("make", [Node, IterativeAggregation, SkipAggregation, IdentityNode, TokenNode])
def test_no_inputs_are_refused(make):
    with pytest.raises(ValueError, match="in_channels is empty: give the channels of at least one input"):
        make([], 4)


@pytest.mark.parametrize("structure", FIGURE1)
def test_no_blocks_are_refused(structure):
    with pytest.raises(ValueError, match="0 blocks: at least 1 is needed"):
        figure1(structure, [], 4)


def preactivated(count, inplace, channels=8):
    return [nn.Sequential(nn.ReLU(inplace), nn.Conv2d(channels, channels, 3, padding=1)) for _ in range(count)]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("structure", FIGURE1)
def test_blocks_that_overwrite_what_nodes_read_are_refused(structure, training):
    x = torch.randn(2, 8, 6, 5)
    figure1(structure, preactivated(4, inplace=False), 8).train(training)(x)
    model = figure1(structure, preactivated(4, inplace=True), 8).train(training)
    with torch.set_grad_enabled(training):
        if structure == "plain":  # no node reads what the blocks give
            model(x.clone())
        else:
            with pytest.raises(RuntimeError, match=r"\(Sequential\) overwrites its input, .*nn\.ReLU\(\) for"):
                model(x.clone())


@pytest.mark.parametrize("structure", FIGURE1)
def test_the_first_block_may_overwrite_its_input(structure):
    blocks = preactivated(1, inplace=True) + preactivated(3, inplace=False)
    model, x = figure1(structure, blocks, 8).eval(), torch.randn(2, 8, 6, 5)
    with torch.inference_mode():  # in which changes are not counted
        fast = model(x.clone())
    torch.testing.assert_close(model(x.clone()), fast)


def test_the_list_of_channels_stays_the_callers():
    channels = [4, 6, 8]
    IterativeAggregation(channels, 4)
    SkipAggregation(channels, 4)
    Node(channels, 4)
    assert channels == [4, 6, 8]


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("structure", FIGURE1)
def test_a_structure_by_itself_is_traced_by_fx(structure):
    model = figure1(structure, conv_blocks(3), 8).eval()
    x = torch.randn(2, 8, 6, 5)
    assert torch.equal(torch.fx.symbolic_trace(model)(x), model(x))


def test_any_block_exports():
    model = figure1("merged", conv_blocks(4), 8).eval()
    x = torch.randn(1, 8, 6, 6)
    exported = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(exported(x), model(x))


@pytest.mark.parametrize("structure", ["tree", "reentrant", "merged"])
def test_the_first_block_may_not_overwrite_what_joins(structure):
    stage = HierarchicalAggregation(preactivated(2, inplace=False), 8, structure=structure, join_channels=8)
    x = torch.randn(2, 8, 6, 5)
    stage(x, x)
    stage.blocks[0][0] = nn.ReLU(inplace=True)
    stage(x.clone(), x)  # no node reads the copy
    with pytest.raises(RuntimeError, match="overwrites its input"):
        stage(x, x)
