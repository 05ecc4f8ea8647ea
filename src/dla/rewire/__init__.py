"""Aggregation over the blocks of a network that is trained already (Figure 2), keeping what it computes at first."""

from dla.rewire.rewire import Rewiring, rewire
from dla.rewire.stage import RewiredStage

__all__ = ["RewiredStage", "Rewiring", "rewire"]
