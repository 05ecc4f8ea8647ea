"""What a backbone is: a module that gives a list of maps, and says which."""

from jaxtyping import Float
from torch import Tensor, nn

from dla.backbones.specs import FeatureSpec


class Backbone(nn.Module):
    """Gives maps, finest first; a subclass has both methods.

    Attributes:
        feature_specs: channels and stride of each map.
    """

    feature_specs: list[FeatureSpec]

    def forward(self, x: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """Maps (b, channels, ceil(h / stride), ceil(w / stride)), finest first."""
        raise NotImplementedError(f"{type(self).__name__} does not say which maps it gives")

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Keep less for the backward pass, and compute the rest again."""
        raise NotImplementedError(f"{type(self).__name__} has no gradient checkpointing")
