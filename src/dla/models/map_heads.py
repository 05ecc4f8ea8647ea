"""The heads of a detector, each of which makes a map from the fused one."""

from collections.abc import Mapping
from numbers import Integral

from torch import nn

PRIOR = -2.19  # a heatmap's bias at the start: sigmoid(-2.19) = 0.1


def map_heads(in_channels: int, heads: Mapping[str, int], channels: int) -> nn.ModuleDict:
    """A head for each name, which gives a map of so many channels; one whose name holds "hm" is a heatmap.

    Args:
        in_channels: of the fused map.
        heads: channels of each map by its name.
        channels: of a layer before each map; 0 for none.

    Raises:
        ValueError: a name cannot be a module's, channels are too few or no whole number, or heads have none.
    """
    if not isinstance(heads, Mapping):
        raise ValueError(f"heads must say how many channels each has, as in {{'hm': 80, 'wh': 2}}, not {heads!r}")
    if not isinstance(channels, Integral) or channels < 0:
        raise ValueError(f"head_channels must be 0, for no layer before the maps, or more, not {channels}")
    for name, count in heads.items():
        if not name or "." in name or hasattr(nn.ModuleDict, name):
            raise ValueError(f"no head can be named {name!r}: give names such as 'hm', without dots and of your own")
        if not isinstance(count, Integral) or count < 1:
            raise ValueError(f"the head {name!r} has {count} channels: give a whole number from 1, or leave it out")
    return nn.ModuleDict({name: _head(in_channels, channels, count, "hm" in name) for name, count in heads.items()})


def _head(in_channels: int, channels: int, out_channels: int, heatmap: bool) -> nn.Module:
    last = nn.Conv2d(channels or in_channels, out_channels, 1)
    nn.init.constant_(last.bias, PRIOR if heatmap else 0)  # type: ignore[arg-type]
    if not channels:
        return last
    first = nn.Conv2d(in_channels, channels, 3, padding=1)
    nn.init.zeros_(first.bias)  # type: ignore[arg-type]
    return nn.Sequential(first, nn.ReLU(inplace=True), last)
