"""How many channels the images of a network have, by the network alone."""

from torch import nn


def image_channels(module: nn.Module) -> int:
    """Those of its first layer; of a network of several images those of all, one behind the other."""
    first = next(layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear))
    # That layer may see one of several images, of which the network whose stem it is takes all.
    of_several = (part for part in module.modules() if hasattr(part, "image_channels") and first in part.modules())
    channels: int = getattr(next(of_several, None), "in_chans", first.weight.shape[1])
    return channels
