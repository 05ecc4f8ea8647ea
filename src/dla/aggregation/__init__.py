"""Deep layer aggregation itself: Figure 1 of the paper, on any blocks and any maps. Imports torch alone."""

from dla.aggregation.figure1 import FIGURE1, Chain, figure1
from dla.aggregation.hierarchical import HierarchicalAggregation
from dla.aggregation.identity import IdentityNode
from dla.aggregation.iterative import IterativeAggregation
from dla.aggregation.node import Node
from dla.aggregation.skip import SkipAggregation
from dla.aggregation.tokens import TokenNode

__all__ = [
    "FIGURE1",
    "Chain",
    "HierarchicalAggregation",
    "IdentityNode",
    "IterativeAggregation",
    "Node",
    "SkipAggregation",
    "TokenNode",
    "figure1",
]
