"""The boundary benchmark of BSDS (Martin, Fowlkes and Malik 2004; Arbelaez et al. 2011): ODS, OIS, AP and R50.

map in [0, 1] -> suppress -> thresholds, thin -> match with each annotator -> counts -> score
"""

from importlib import import_module
from typing import TYPE_CHECKING

from dla.metrics.boundary.counts import count_matches, spread_thresholds
from dla.metrics.boundary.evaluate import Protocol, evaluate_folders
from dla.metrics.boundary.matching import match
from dla.metrics.boundary.plot import draw_curves
from dla.metrics.boundary.predictions import read_prediction
from dla.metrics.boundary.results import read_results
from dla.metrics.boundary.scores import Curve, Scores, score
from dla.metrics.boundary.suppression import PRESETS, Suppression, suppress, thin_crest

if TYPE_CHECKING:
    from dla.metrics.boundary.metric import BoundaryMetric

__all__ = [
    "PRESETS",
    "BoundaryMetric",
    "Curve",
    "Protocol",
    "Scores",
    "Suppression",
    "count_matches",
    "draw_curves",
    "evaluate_folders",
    "match",
    "read_prediction",
    "read_results",
    "score",
    "spread_thresholds",
    "suppress",
    "thin_crest",
]


def __getattr__(name: str) -> object:
    """The metric is imported when first asked for, so that the rest works without torchmetrics."""
    if name == "BoundaryMetric":
        return import_module("dla.metrics.boundary.metric").BoundaryMetric
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
