"""A network that changes what it is given."""

import torch
from torch import nn


class InPlace(nn.Module):
    """Normalises its images where they lie."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x.sub_(0.5).div_(0.25))
