"""Parameters by depth, for learning rates that fall towards the input: what timm's optimizers ask of a network."""

import math
from collections.abc import Callable
from typing import Any

from torch import nn

from dla.models.stage import Stage
from dla.models.upsample import LearnedUpsample

Matcher = dict[str, Any]
"""Patterns of names, shallowest first; what none of them matches belongs to the last layer."""
STEMS = r"^(?:stem|beside)\."


def stage_groups(stages: nn.Sequential, coarse: bool) -> Matcher:
    """The stem, then a layer per stage (`coarse`) or per block; a node belongs to the block that it runs behind.

    Where the blocks are not in a merged tree, all nodes of a stage belong to its last block.
    """
    if coarse:
        return {"stem": STEMS, "blocks": r"^stages\.(\d+)\."}
    nodes = [pattern for i, stage in enumerate(stages) if isinstance(stage, Stage) for pattern in _nodes(i, stage)]
    blocks = [(r"^stages\.(\d+)\.aggregate\.blocks\.(\d+)\.", None), (r"^stages\.(\d+)\.", (0,))]
    return {"stem": STEMS, "blocks": [*nodes, *blocks]}


def _nodes(i: int, stage: Stage) -> list[tuple[str, tuple[int, int]]]:
    """Patterns of the nodes of stage `i`, and the layers to which they belong."""
    aggregate: Any = stage.aggregate
    if getattr(aggregate, "structure", None) == "merged":  # a node behind every second block
        return [(rf"^stages\.{i}\.aggregate\.nodes\.{j}\.", (i, 2 * j + 1)) for j in range(len(aggregate.nodes))]
    return [(rf"^stages\.{i}\.(?:join|aggregate\.(?:nodes|fuse))\.", (i, len(aggregate.blocks) - 1))]


def groups_within(model: nn.Module, coarse: bool) -> Callable[[str], tuple[float]]:
    """The layers of the first part of `model` that knows its own, ours or timm's; what is not in it is the last layer.

    Where no part does, the backbone is one layer.
    """
    from timm.models import group_parameters

    parts = [(f"{name}.", part) for name, part in model.named_modules() if name and hasattr(part, "group_matcher")]
    if not parts:
        return lambda name: (0.0 if name.startswith("backbone.") else math.inf,)
    prefix, part = parts[0]
    within = group_parameters(part, part.group_matcher(coarse=coarse), reverse=True)
    return lambda name: (within.get(name.removeprefix(prefix), math.inf) if name.startswith(prefix) else math.inf,)


def undecayed_within(model: nn.Module) -> set[str]:
    """What the parts of `model` ask not to decay, and the upsampling kernels, which decay would draw to zero."""
    names = {
        f"{prefix}.{name}"
        for prefix, part in model.named_modules()
        if prefix and hasattr(part, "no_weight_decay")
        for name in part.no_weight_decay()
    }
    ups = [name for name, part in model.named_modules() if isinstance(part, LearnedUpsample)]
    return names | {name for name, _ in model.named_parameters() if name.removesuffix(".conv.weight") in ups}
