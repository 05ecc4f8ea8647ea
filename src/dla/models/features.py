"""A network as a list of feature maps, and nothing in it that no map needs."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from dla.backbones import FeatureSpec, take_indices
from dla.models.classifier import DLA


class Features(nn.Module):
    """The maps of a DLA network at `out_indices`, finest first; stages behind the last of them are dropped.

    Has `feature_specs` for our decoders, and `feature_info` with `channels()` and `reduction()` for timm's.
    """

    def __init__(self, model: DLA, out_indices: int | Sequence[int] | None = None) -> None:
        super().__init__()
        self.out_indices = take_indices(len(model.stages), out_indices)
        if not self.out_indices:
            raise ValueError("out_indices is empty: name at least one feature map")
        model.stages = model.stages[: self.out_indices[-1] + 1]
        model.head = nn.Identity()  # type: ignore[assignment]
        self.body = model
        self.feature_specs: list[FeatureSpec] = [model.feature_specs[i] for i in self.out_indices]

    @property
    def feature_info(self) -> Any:
        """timm's `FeatureInfo` of the maps given."""
        from timm.models import FeatureInfo

        return FeatureInfo(self.body.feature_info, tuple(self.out_indices))

    def forward(self, x: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """Maps (b, channels, ceil(h / stride), ceil(w / stride)), finest first."""
        return self.body.forward_intermediates(x, self.out_indices, intermediates_only=True)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """See `DLA.set_grad_checkpointing`."""
        self.body.set_grad_checkpointing(enable)
