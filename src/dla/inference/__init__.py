"""Class probabilities of images: over scales and mirror images, in overlapping windows where images are large."""

from dla.inference.views import check_views, model_runs, predict_probabilities, predict_strips

__all__ = ["check_views", "model_runs", "predict_probabilities", "predict_strips"]
