"""Deep layer aggregation: the structures, the networks and what one does with them.

    import dla

    model = dla.create_model("dla34up", num_classes=11)     # logits of every pixel, at any image size
    print(dla.load_weights(model, "timm/dla34.in1k"))       # of the hub or a file; says what went where
    fuse = dla.IterativeAggregation([64, 128, 256], 64)     # Figure 1c over your own maps

Training lives in `dla.tasks` and `dla.data`, the command line in `dla.cli`.
"""

from dla.aggregation import (
    Chain,
    HierarchicalAggregation,
    IterativeAggregation,
    Node,
    SkipAggregation,
    TokenNode,
    figure1,
)
from dla.models import aggregate, create_model, list_models, load_model
from dla.recompute import recomputed, recomputing
from dla.rewire import rewire
from dla.weights import export_weights, load_weights

__version__ = "0.1.0"

__all__ = [
    "Chain",
    "HierarchicalAggregation",
    "IterativeAggregation",
    "Node",
    "SkipAggregation",
    "TokenNode",
    "aggregate",
    "create_model",
    "export_weights",
    "figure1",
    "list_models",
    "load_model",
    "load_weights",
    "recomputed",
    "recomputing",
    "rewire",
]
