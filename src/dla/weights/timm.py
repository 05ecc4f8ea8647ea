"""timm's names for the parts of a DLA classifier; the authors' names too, except for their unused projections.

A tree of depth n is nested n times there, tree1 before tree2; a node is the root of the innermost tree whose two blocks
it closes, and reads `(L_2, L_1, P, R_{n-1}, ..., R_1)` where ours reads `(P, R_{n-1}, ..., R_1, L_1, L_2)`.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from dla.aggregation import HierarchicalAggregation, Node

Names = Iterator[tuple[str, str]]


def names(model: nn.Module) -> dict[str, str]:
    """timm's name of each of a classifier's modules with parameters; nothing for a model of another kind."""
    there = {key.rpartition(".")[0] for key in model.state_dict()}
    if "stem.0.0" not in there:
        return {}
    pairs = {"stem.0.0": "base_layer.0", "stem.0.1": "base_layer.1", "head.fc": "fc"}
    for i in (0, 1):
        pairs |= {f"stages.{i}.0.{part}": f"level{i}.{part}" for part in (0, 1)}
    for name, tree in model.named_modules():
        if isinstance(tree, HierarchicalAggregation):
            level = f"level{name.split('.')[1]}"
            joined = tree.join_channels is not None
            if tree.structure == "merged" and joined == (level != "level2"):  # of the paper's own; no other is there
                pairs |= {f"{name}.{ours}": f"{level}.{theirs}" for ours, theirs in _tree_names(tree)}
    return {ours: theirs for ours, theirs in pairs.items() if ours in there}


def _tree_names(tree: HierarchicalAggregation) -> Names:
    depth = len(tree.blocks).bit_length() - 1
    for i, block in enumerate(tree.blocks):
        convs = [j for j, part in enumerate(block.body) if isinstance(part, nn.Sequential)]  # type: ignore[arg-type]
        for number, j in enumerate(convs, start=1):
            for kind, part in (("conv", 0), ("bn", 1)):
                yield f"blocks.{i}.body.{j}.{part}", f"{_path(i, depth)}{kind}{number}"
    for part in (0, 1):
        yield f"blocks.0.shortcut.1.{part}", f"{_path(0, depth - 1)}project.{part}"
    for i in range(len(tree.nodes)):
        yield f"nodes.{i}.conv", f"{_path(i, depth - 1)}root.conv"
        yield f"nodes.{i}.norm", f"{_path(i, depth - 1)}root.bn"


def _path(index: int, depth: int) -> str:
    # The way down a binary tree to a leaf is the leaf's number in binary.
    return "".join(f"tree{(index >> bit & 1) + 1}." for bit in reversed(range(depth)))


def to_ours(key: str, value: Tensor, module: nn.Module) -> Tensor:
    """Slices and shape of a timm tensor as our `module`, which has `key` there, takes it."""
    if key.endswith("root.conv.weight") and isinstance(module, Node) and value.shape == module.conv.weight.shape:
        *rest, first, second = module.in_channels
        l2, l1, *others = value.split([second, first, *rest], dim=1)
        return torch.cat([*others, l1, l2], dim=1)
    return value.flatten(1) if key == "fc.weight" and value.ndim == 4 else value


def to_theirs(key: str, value: Tensor, module: nn.Module) -> Tensor:
    """The reverse of `to_ours`; the last linear map is a 1x1 convolution there."""
    if key.endswith("root.conv.weight") and isinstance(module, Node):
        *others, l1, l2 = value.split(module.in_channels, dim=1)
        return torch.cat([l2, l1, *others], dim=1)
    return value[..., None, None] if key == "fc.weight" else value


def renamed(model: nn.Module, theirs: Mapping[str, str]) -> dict[str, Tensor]:
    """A model's state dict under the names `theirs` of its modules, with the slices and shapes of that layout."""
    modules = dict(model.named_modules())
    result = {}
    for key, value in model.state_dict().items():
        module, _, leaf = key.rpartition(".")
        name = f"{theirs[module]}.{leaf}"
        result[name] = to_theirs(name, value, modules[module.removesuffix(".conv")])
    return result
