"""Backbone and decoder: what every network that fuses the maps of a backbone shares, and a classifier of that kind."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dla.backbones import Backbone, FeatureSpec, map_size
from dla.models.decoder import Decoder
from dla.models.features import Features
from dla.models.heads import Classifier, ClassifierHead, Pool
from dla.models.layer_decay import groups_within, undecayed_within
from dla.recompute import memory_efficient
from dla.recompute.checkpointing import checkpointed


class Aggregated(nn.Module):
    """The maps of a backbone fused into one.

    Args:
        backbone: gives the maps.
        decoder: fuses them.
    """

    def __init__(self, backbone: Backbone, decoder: Decoder) -> None:
        super().__init__()
        self.grad_checkpointing = False
        self.memory_efficient: bool | None = None
        self.pretrained_cfg: dict[str, Any] = {}
        self.backbone = backbone
        self.decoder = decoder

    @property
    def out_channels(self) -> int:
        """Channels of the fused map."""
        return self.decoder.out_channels

    @property
    def out_stride(self) -> int:
        """Input pixels that one pixel of the fused map stands for."""
        return self.decoder.out_stride

    @property
    def step_specs(self) -> list[FeatureSpec]:
        """Channels and strides of the maps of `forward_steps`."""
        return self.decoder.step_specs

    def forward_features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k _ _"]:
        """The fused map (b, out_channels, ceil(h / out_stride), ceil(w / out_stride))."""
        return self.forward_steps(x)[-1]

    @memory_efficient
    def forward_steps(self, x: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """All maps on the way to the fused one, which is the last; `step_specs` says what they are."""
        size, maps = map_size(x, self.out_stride), self.backbone(x)
        if self.grad_checkpointing and torch.is_grad_enabled():
            return checkpointed(self.decoder, maps, size)
        return self.decoder(maps, size)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Tensor:
        """The fused map; networks with a head give what it makes of that."""
        return self.forward_features(x)

    def group_matcher(self, coarse: bool = False) -> Callable[[str], tuple[float]]:
        """From a parameter's name to its layer, as timm takes it; the decoder and the head are the last."""
        return groups_within(self, coarse)

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that the backbone asks not to decay, and of the upsampling kernels."""
        return undecayed_within(self)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """See `DLA.set_grad_checkpointing`; the decoder is computed again as a whole."""
        self.grad_checkpointing = enable
        self.backbone.set_grad_checkpointing(enable)

    def set_memory_efficient(self, enable: bool | None = True) -> None:
        """See `DLA.set_memory_efficient`; it holds for decoder and head too, and for backbones that are not ours."""
        self.memory_efficient = enable
        if isinstance(self.backbone, Features):
            self.backbone.set_memory_efficient(enable)


class AggregatedClassifier(Classifier, Aggregated):
    """Classes of images from the fused map, pooled.

    Args:
        backbone: gives the maps.
        decoder: fuses them.
        num_classes: 0 for pooled features instead of logits.
        global_pool: "avg", "max", or "" for the fused map.
        drop_rate: dropout before the classifier.
    """

    def __init__(
        self,
        backbone: Backbone,
        decoder: Decoder,
        *,
        num_classes: int = 1000,
        global_pool: Pool = "avg",
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__(backbone, decoder)
        self.num_classes, self.global_pool, self.drop_rate = num_classes, global_pool, drop_rate
        self.num_features = self.head_hidden_size = self.out_channels
        self.head = ClassifierHead(self.out_channels, num_classes, global_pool=global_pool, drop_rate=drop_rate)
