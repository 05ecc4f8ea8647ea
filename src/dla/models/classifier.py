"""The DLA network: six stages, hierarchical aggregation within and iterative aggregation between them (Figure 3)."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dla.backbones import FeatureSpec, take_indices
from dla.kernels.image_conv import ImageConv2d
from dla.models.blocks import BlockFactory, conv_norm, initialise
from dla.models.heads import Classifier, ClassifierHead, Pool
from dla.models.layer_decay import Matcher, stage_groups
from dla.models.norms import NormLayer, with_norms
from dla.models.options import expect_drop_path_rate
from dla.models.stage import STRUCTURES
from dla.models.trees import make_grids, make_trees
from dla.recompute import memory_efficient
from dla.recompute.checkpointing import checkpointed


class DLA(Classifier):
    """A classifier whose stages are aggregated deeply, with timm's model conventions. Any image size works.

    Args:
        block: makes a block: `basic`, `bottleneck` or `split` of `dla.models.blocks`.
        depths: depth n of the trees of stages 3 to 6, which have 2**n blocks each.
        channels: of stages 1 to 6.
        residual: nodes add their last input.
        structure: how the blocks are aggregated: "dla", or one of Figure 1 for comparison: "plain", "skip", "iterative"
            (which joins the stages alone), "tree", "reentrant" or "merged".
        num_classes: 0 for pooled features instead of logits.
        in_chans: channels of the images; several numbers for several images, one behind the other along the channels.
            Each has a stem of its own then, and their maps are added, as in CenterTrack, whose (3, 3, 1) are an image,
            the one before it, and a heatmap.
        global_pool: "avg", "max", or "" for the last stage's map.
        output_stride: 32, 16 or 8; below 32 the last stages keep the size and dilate instead, so that their maps hold,
            at every second or fourth position, the very values of the maps at stride 32.
        stem_stride: of stage 3, where the trees begin: 4; or 2 for images of about 64 pixels and 1 for those of about
            32. All six strides are a quarter of `stem_stride` times (1, 2, 4, 8, 16, 32), but at least 1, and below 4
            the 7x7 stem becomes 3x3.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth of the last block; it rises linearly from 0 at the first.
        norm_layer: "batchnorm", "groupnorm" (32 groups, or the most that divide both 32 and the channels),
            "syncbatchnorm", or what makes a norm from a channel count.
    """

    def __init__(
        self,
        block: BlockFactory,
        depths: Sequence[int],
        channels: Sequence[int],
        *,
        residual: bool = False,
        structure: str = "dla",
        num_classes: int = 1000,
        in_chans: int | Sequence[int] = 3,
        global_pool: Pool = "avg",
        output_stride: int = 32,
        stem_stride: int = 4,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        norm_layer: NormLayer = "batchnorm",
    ) -> None:
        super().__init__()
        self.image_channels = tuple(in_chans) if isinstance(in_chans, Sequence) else (in_chans,)
        _check(output_stride, stem_stride, structure, drop_path_rate, self.image_channels)
        self.num_classes = num_classes
        self.in_chans = sum(self.image_channels)
        self.drop_rate = drop_rate
        self.global_pool: Pool = global_pool
        self.grad_checkpointing = False
        self.memory_efficient: bool | None = None
        self.pretrained_cfg: dict[str, Any] = {}
        self.num_features = self.head_hidden_size = channels[-1]
        grids = make_grids(stem_stride, output_stride)
        self.feature_specs = [FeatureSpec(c, grid.stride) for c, grid in zip(channels, grids, strict=True)]
        kernel = 7 if stem_stride == 4 else 3
        self.stem, *beside = [_simple(image, channels[0], kernel, layer=ImageConv2d) for image in self.image_channels]
        self.beside = nn.ModuleList(beside) if beside else None  # timm's wrappers would call an empty list
        simple = [_simple(channels[0], channels[i], 3, grids[i].stride) for i in (0, 1)]
        trees = make_trees(block, depths, channels[1:], grids[1:], drop_path_rate, residual, structure)
        self.stages = nn.Sequential(*simple, *trees)
        self.head = ClassifierHead(channels[-1], num_classes, global_pool=global_pool, drop_rate=drop_rate)
        self.apply(initialise)
        with_norms(self, norm_layer)

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """Channels, stride and module of each stage's map, in the form that timm's feature wrappers read."""
        return [
            {"num_chs": spec.channels, "reduction": spec.stride, "module": f"stages.{i}"}
            for i, spec in enumerate(self.feature_specs)
        ]

    @memory_efficient
    def forward_intermediates(
        self,
        x: Float[Tensor, "b c h w"],
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """The maps of the stages `indices` (all; the last n; or those named), finest first, as timm's models give them.

        Returns the list of maps where `intermediates_only` is set, otherwise the last stage's map and the list; where
        `stop_early` is set, the last stage is that of the last map. `norm` changes nothing, since a stage ends
        normalised; "NCHW" is the only format.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt must be 'NCHW', not {output_fmt!r}")
        take = take_indices(len(self.stages), indices)
        last = max(take) + 1 if stop_early and take else len(self.stages)
        maps = []
        x = self._enter(x)
        for i, stage in enumerate(self.stages[:last]):
            x = self._run(stage, x)
            if i in take:
                maps.append(x)
        return maps if intermediates_only else (x, maps)

    def forward_features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k _ _"]:
        """The last stage's map, at 1/32 unless `output_stride` says otherwise."""
        return self.forward_intermediates(x, indices=[])[0]

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] | None = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop the stages behind the last of the maps `indices`, and the head; returns the indices, none negative.

        `prune_norm` changes nothing, since no norm stands behind the stages.

        Raises:
            ValueError: the indices are empty or out of range.
        """
        take = take_indices(len(self.stages), indices)
        if not take:
            raise ValueError("the indices are empty: name at least one feature map")
        cut = take[-1] + 1 < len(self.stages)
        self.stages = self.stages[: take[-1] + 1]
        self.num_features = self.head_hidden_size = self.feature_specs[take[-1]].channels
        self.feature_specs = self.feature_specs[: len(self.stages)]
        if prune_head or cut:
            self.reset_classifier(0, "")
        return take

    def group_matcher(self, coarse: bool = False) -> Matcher:
        """Patterns of the parameters' names by depth, with which timm groups them into layers."""
        return stage_groups(self.stages, coarse)

    def no_weight_decay(self) -> set[str]:
        """Names of parameters not to decay beside norms and biases, which timm leaves out by itself: none."""
        return set()

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Keep only the stages' inputs for the backward pass and compute the rest again: less memory, more time."""
        self.grad_checkpointing = enable

    def set_memory_efficient(self, enable: bool | None = True) -> None:
        """Keep convolutions' results alone for the backward pass (`dla.recomputing`).

        None does so unless the images are on a GPU and the network is not compiled.
        """
        self.memory_efficient = enable

    def _enter(self, x: Tensor) -> Tensor:
        """The map of the stem; of several images the sum of their stems' maps."""
        if self.beside is None:
            return self._run(self.stem, x)
        images = x.split(self.image_channels, 1)
        first, *others = [self._run(stem, images[i]) for i, stem in enumerate((self.stem, *self.beside))]
        return sum(others, first)

    def _run(self, module: nn.Module, x: Tensor) -> Tensor:
        if self.grad_checkpointing and torch.is_grad_enabled():
            return checkpointed(module, x)
        return module(x)


def _simple(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, layer: type[nn.Conv2d] = nn.Conv2d
) -> nn.Sequential:
    """What stands before the trees: a convolution, batch norm and ReLU."""
    return nn.Sequential(conv_norm(in_channels, out_channels, kernel, stride, layer=layer), nn.ReLU(inplace=True))


def _check(
    output_stride: int, stem_stride: int, structure: str, drop_path_rate: float, in_chans: tuple[int, ...]
) -> None:
    if output_stride not in (8, 16, 32):
        raise ValueError(f"output_stride must be 8, 16 or 32, not {output_stride}")
    if stem_stride not in (1, 2, 4):
        raise ValueError(f"stem_stride must be 1, 2 or 4, not {stem_stride}")
    if structure not in STRUCTURES:
        raise ValueError(f"structure must be one of {', '.join(STRUCTURES)}, not {structure!r}")
    expect_drop_path_rate(drop_path_rate)
    if not in_chans or min(in_chans) < 1:
        raise ValueError(f"in_chans must be at least 1, not {in_chans[0] if len(in_chans) == 1 else in_chans}")
