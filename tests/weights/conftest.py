"""Weights of a small classifier, under timm's names."""

import pytest
import timm
import torch


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """Of five classes."""
    return timm.create_model("dla46_c", num_classes=5).state_dict()
