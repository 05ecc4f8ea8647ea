"""The DLA networks: blocks, stages, classifiers, dense predictors, and the table that names them."""

from dla.models.classifier import DLA
from dla.models.dense import IDA, DensePredictor, DLAUp
from dla.models.features import Features
from dla.models.zoo import VARIANTS, Variant, build, create_model, list_models

__all__ = [
    "DLA",
    "IDA",
    "VARIANTS",
    "DLAUp",
    "DensePredictor",
    "Features",
    "Variant",
    "build",
    "create_model",
    "list_models",
]
