"""Networks that do what an engine may not expect."""

import torch
from torch import nn


class InPlace(nn.Module):
    """Normalises its images where they lie."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x.sub_(0.5).div_(0.25))


class Branched(nn.Sequential):
    """A chain within, whose middle it takes, too."""

    def __init__(self) -> None:
        super().__init__(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        middle = self[0][0](x)
        return self[0][1](middle) + middle
