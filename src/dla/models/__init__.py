"""The DLA networks: blocks, stages, classifiers, dense predictors, and the table that names them."""

from dla.models.aggregated import Aggregated, AggregatedClassifier
from dla.models.any_backbone import DECODERS, aggregate
from dla.models.classifier import DLA
from dla.models.dense import IDA, DensePredictor, DLAUp
from dla.models.features import Features
from dla.models.from_weights import load_model
from dla.models.own import list_models
from dla.models.top_down import FCN, FPN, UNet
from dla.models.variants import VARIANTS, Variant, build
from dla.models.zoo import create_model

__all__ = [
    "DECODERS",
    "DLA",
    "FCN",
    "FPN",
    "IDA",
    "VARIANTS",
    "Aggregated",
    "AggregatedClassifier",
    "DLAUp",
    "DensePredictor",
    "Features",
    "UNet",
    "Variant",
    "aggregate",
    "build",
    "create_model",
    "list_models",
    "load_model",
]
