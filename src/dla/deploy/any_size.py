"""A network in an engine for images of any size, for each of which it is made anew."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dla.deploy.engines import Deployed, optimize

KEPT = 4  # shapes, as of a picture at three scales and one more


class AnySize(nn.Module):
    """Runs a network as `optimize` makes it for the images that come; of the shapes last met it is kept.

    Making it takes seconds, so that it pays for pictures of few sizes.

    Args:
        model: maps images to a tensor; it stays on its device, and is not changed.
        engine: one of `dla.deploy.ENGINES`.

    Raises:
        DeployError: when images come, see `optimize`.
    """

    def __init__(self, model: nn.Module, engine: str) -> None:
        super().__init__()
        self.model, self.engine = model, engine
        self.ready: dict[tuple[int, ...], Deployed] = {}
        self.eval()

    def forward(self, images: Float[Tensor, "b c h w"]) -> Any:
        """What the network gives for them."""
        shape = tuple(images.shape)
        if shape not in self.ready:
            if len(self.ready) == KEPT:
                del self.ready[next(iter(self.ready))]
            with torch.inference_mode(False):  # in which exporters do not trace
                self.ready[shape] = optimize(self.model, engine=self.engine, example=images.clone())
        return self.ready[shape](images)
