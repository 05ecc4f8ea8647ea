"""What the families of timm's networks that can be rewired look like: ResNet (ResNeXt too), RegNet and ConvNeXt."""

from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from dla.aggregation.node import Norm
from dla.rewire.stage import RewiredStage, StageSpec


def stage_specs(model: Any, structure: str) -> Iterator[StageSpec]:
    """The stages of `model`, finest first, as `structure` ("hda", "ida" or "hda+ida") aggregates them.

    Raises:
        ValueError: the network is of another family, or rewired already.
    """
    from timm.models import ConvNeXt, RegNet, ResNet

    if not isinstance(model, ConvNeXt | RegNet | ResNet):
        raise ValueError(
            "rewire takes a timm model of the families ResNet, ResNeXt, RegNet or ConvNeXt, whose stages are chains "
            f"of blocks from one map to one map, and not {type(model).__name__} of {type(model).__module__}"
        )
    convnext, modules = isinstance(model, ConvNeXt), dict(model.named_modules())
    features: Any = model.feature_info[0 if convnext else 1 :]  # the others begin with the stem
    for before, this in zip([None, *features], features, strict=False):
        stage: Any = modules.get(this["module"], nn.Identity())  # timm drops stages that no map needs
        if isinstance(stage, RewiredStage):
            raise ValueError(f"this {type(model).__name__} is rewired already; rewire the plain network instead")
        blocks = getattr(stage, "blocks", stage)
        yield StageSpec(
            name=this["module"],
            entry="downsample" if convnext else None,
            blocks=tuple(f"blocks.{name}" if convnext else name for name, _ in blocks.named_children()),
            channels=this["num_chs"],
            tree="hda" in structure,
            joined=before["num_chs"] if before and "ida" in structure else None,
            stride=this["reduction"] // before["reduction"] if before else 1,
            ceil_mode=not convnext,
        )


def ends_in_relu(block: nn.Module) -> bool:
    """Whether the block's output is never negative."""
    from timm.models import regnet, resnet

    if isinstance(block, resnet.BasicBlock):
        return isinstance(block.act2, nn.ReLU)
    return isinstance(block, resnet.Bottleneck | regnet.Bottleneck) and isinstance(block.act3, nn.ReLU)


def norm_of(stage: nn.Module) -> Norm:
    """Batch norm where the stage has it, otherwise layer norm, which works at any batch size."""
    from timm.layers.norm import LayerNorm2d

    return nn.BatchNorm2d if any(isinstance(module, _BatchNorm) for module in stage.modules()) else LayerNorm2d
