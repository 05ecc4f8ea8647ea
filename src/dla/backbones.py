"""What a decoder has to know of a backbone's feature maps: their channels and strides."""

from typing import NamedTuple


class FeatureSpec(NamedTuple):
    """One map of a backbone: how many channels it has, and how many input pixels one of its pixels stands for."""

    channels: int
    stride: int
