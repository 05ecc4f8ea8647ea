"""Deep layer aggregation itself: Figure 1 of the paper, on any blocks and any maps. Imports torch alone."""

from dla.aggregation.hierarchical import HierarchicalAggregation
from dla.aggregation.iterative import IterativeAggregation
from dla.aggregation.node import Node
from dla.aggregation.skip import Chain, SkipAggregation, figure1

__all__ = ["Chain", "HierarchicalAggregation", "IterativeAggregation", "Node", "SkipAggregation", "figure1"]
