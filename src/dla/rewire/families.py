"""What the families of timm's networks that can be rewired look like: where their stages lie, and their blocks."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from dla.aggregation.node import Norm
from dla.networks import copied
from dla.rewire.stage import RewiredStage, StageSpec

FAMILIES = "ResNet, ResNeXt, RegNet, ConvNeXt, EfficientNet or MobileNet (2 to 4)"


class PlainStage(NamedTuple):
    """A stage whose blocks run one after another."""

    name: str
    blocks: tuple[str, ...]
    channels: int  # of its output
    stride: int  # of its output, in pixels of the image
    entry: str | None = None  # what runs before the blocks
    even: bool = True  # all blocks have as many channels, so that nodes fit over them


def stage_specs(model: Any, structure: str) -> Iterator[StageSpec]:
    """The stages of `model`, finest first, as `structure` ("hda", "ida" or "hda+ida") aggregates them.

    Raises:
        ValueError: the network is of another family, or rewired already.
    """
    from timm.models import ConvNeXt, EfficientNet, MobileNetV3, RegNet, ResNet

    if not isinstance(model, ConvNeXt | EfficientNet | MobileNetV3 | RegNet | ResNet):
        raise ValueError(
            f"rewire takes a timm model of the families {FAMILIES}, whose stages are chains "
            f"of blocks from one map to one map, and not {type(model).__name__} of {type(model).__module__}; "
            "torchvision's ResNet and ResNeXt have the names of timm's, which take their state dict"
        )
    if any(isinstance(module, RewiredStage) for module in model.modules()):
        raise ValueError(f"this {type(model).__name__} is rewired already; rewire the plain network instead")
    chains = list(_inverted(model) if isinstance(model, EfficientNet | MobileNetV3) else _residual(model))
    for before, this in zip([None, *chains], chains, strict=False):
        yield StageSpec(
            name=this.name,
            entry=this.entry,
            blocks=this.blocks,
            channels=this.channels,
            tree="hda" in structure and this.even,
            joined=before.channels if before and "ida" in structure else None,
            stride=this.stride // before.stride if before else 1,
        )


def _residual(model: Any) -> Iterator[PlainStage]:
    """Stages of ResNet, RegNet and ConvNeXt: one for each of timm's maps."""
    from timm.models import ConvNeXt

    convnext, modules = isinstance(model, ConvNeXt), dict(model.named_modules())
    for info in model.feature_info[0 if convnext else 1 :]:  # the others begin with the stem
        stage: Any = modules.get(info["module"], nn.Identity())  # timm drops stages that no map needs
        blocks = getattr(stage, "blocks", stage)
        yield PlainStage(
            name=info["module"],
            blocks=tuple(f"blocks.{name}" if convnext else name for name, _ in blocks.named_children()),
            channels=info["num_chs"],
            stride=info["reduction"],
            entry="downsample" if convnext else None,
        )


def _inverted(model: Any) -> Iterator[PlainStage]:
    """Stages of EfficientNet and MobileNet, of which several may have one stride: timm's maps name the last of each."""
    ends = [(info["module"].split("."), info["reduction"]) for info in model.feature_info]
    strides = [(int(module[1]), stride) for module, stride in ends if module[0] == "blocks"]
    for index, (stage, channels) in enumerate(zip(model.blocks, _channels(model), strict=True)):
        yield PlainStage(
            name=f"blocks.{index}",
            blocks=tuple(name for name, _ in stage.named_children()),
            channels=channels[-1],
            stride=next(stride for last, stride in strides if index <= last),
            even=len(set(channels)) == 1,
        )


def _channels(model: Any) -> list[list[int]]:
    """Channels of the blocks' outputs by stage, found by running a copy without memory: not all blocks tell theirs."""
    ghost: Any = copied(model).to("meta").eval()
    found: list[list[int]] = [[] for _ in ghost.blocks]
    for channels, stage in zip(found, ghost.blocks, strict=True):
        for block in stage:
            block.register_forward_hook(lambda _, __, out, channels=channels: channels.append(out.shape[1]))
    image = torch.empty(1, ghost.conv_stem.in_channels, 64, 64, device="meta", dtype=ghost.conv_stem.weight.dtype)
    with torch.no_grad():
        ghost.forward_features(image)
    return found


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
