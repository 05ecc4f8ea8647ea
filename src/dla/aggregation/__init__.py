"""Deep layer aggregation itself: Figure 1 of the paper, on any blocks and any maps. Imports torch alone."""

from dla.aggregation.hierarchical import HierarchicalAggregation
from dla.aggregation.identity import IdentityNode
from dla.aggregation.iterative import IterativeAggregation
from dla.aggregation.node import Node
from dla.aggregation.skip import Chain, SkipAggregation, figure1
from dla.aggregation.tokens import TokenNode

__all__ = [
    "Chain",
    "HierarchicalAggregation",
    "IdentityNode",
    "IterativeAggregation",
    "Node",
    "SkipAggregation",
    "TokenNode",
    "figure1",
]
