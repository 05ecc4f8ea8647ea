"""A network as a list of feature maps, and nothing in it that no map needs."""

from collections.abc import Callable, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from dla.backbones import Backbone
from dla.models.classifier import DLA
from dla.models.layer_decay import groups_within, undecayed_within


class Features(Backbone):
    """The maps of a DLA network at `out_indices`, finest first; stages behind the last of them are dropped.

    Has `feature_specs` for our decoders, and `feature_info` with `channels()` and `reduction()` for timm's.
    """

    def __init__(self, model: DLA, out_indices: int | Sequence[int] | None = None) -> None:
        super().__init__()
        self.out_indices = model.prune_intermediate_layers(out_indices)
        self.body, self.pretrained_cfg = model, model.pretrained_cfg
        self.feature_specs = [model.feature_specs[i] for i in self.out_indices]

    @property
    def feature_info(self) -> Any:
        """timm's `FeatureInfo` of the maps given."""
        from timm.models import FeatureInfo

        return FeatureInfo(self.body.feature_info, tuple(self.out_indices))

    def forward(self, x: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """Maps (b, channels, ceil(h / stride), ceil(w / stride)), finest first."""
        return self.body.forward_intermediates(x, self.out_indices, intermediates_only=True)

    def group_matcher(self, coarse: bool = False) -> Callable[[str], tuple[float]]:
        """From a parameter's name to its layer; see `DLA.group_matcher`."""
        return groups_within(self, coarse)

    def no_weight_decay(self) -> set[str]:
        """See `DLA.no_weight_decay`."""
        return undecayed_within(self)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """See `DLA.set_grad_checkpointing`."""
        self.body.set_grad_checkpointing(enable)

    def set_memory_efficient(self, enable: bool | None = True) -> None:
        """See `DLA.set_memory_efficient`."""
        self.body.set_memory_efficient(enable)
