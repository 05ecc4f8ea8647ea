"""Class probabilities of images: over scales and mirror images, in overlapping windows where images are large."""

from dla.inference.sizes import reduction, scaled
from dla.inference.views import (
    OVERLAP,
    WHOLE,
    WINDOW,
    check_views,
    fitting_window,
    model_runs,
    predict_classes,
    predict_probabilities,
    predict_strips,
)

__all__ = [
    "OVERLAP",
    "WHOLE",
    "WINDOW",
    "check_views",
    "fitting_window",
    "model_runs",
    "predict_classes",
    "predict_probabilities",
    "predict_strips",
    "reduction",
    "scaled",
]
