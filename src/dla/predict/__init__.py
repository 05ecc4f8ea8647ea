"""Trained networks on pictures: `load_predictor` in Python, `dla predict` on the command line."""

from dla.predict.load import load_predictor
from dla.predict.predictor import Predictor

__all__ = ["Predictor", "load_predictor"]
