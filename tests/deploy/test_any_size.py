"""A network in an engine for images of any size."""

from typing import Any

import pytest
import torch
from disturbed import disturbed

from dla.deploy import AnySize
from dla.deploy.any_size import KEPT
from dla.inference import predict_probabilities

SIZES = ((64, 64), (70, 65), (33, 90))


@pytest.fixture(scope="module")
def network() -> Any:
    return disturbed("dla46_cida", num_classes=3)


@pytest.mark.parametrize("engine", ["eager", "onnxruntime"])
def test_images_of_several_sizes_and_views(engine: str, network: Any, unchecked_shapes: None) -> None:
    fast = AnySize(network, engine)
    for size in SIZES:
        images = torch.randn(1, 3, *size)
        options = {"scales": (0.75, 1.0), "flip": True}
        expected, found = (predict_probabilities(model, images, **options) for model in (network, fast))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_it_is_made_once_for_a_size_and_kept_for_the_last_ones(network: Any) -> None:
    fast = AnySize(network, "eager")
    images = torch.randn(1, 3, 64, 64)
    fast(images)
    made = fast.ready[1, 3, 64, 64]
    fast(images + 1)
    assert fast.ready[1, 3, 64, 64] is made
    for width in range(65, 65 + KEPT):
        fast(torch.randn(1, 3, 64, width))
    assert list(fast.ready) == [(1, 3, 64, width) for width in range(65, 65 + KEPT)]
    expected = network(images)
    assert (fast(images) - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_it_has_the_device_the_type_and_the_mode_of_its_network(network: Any) -> None:
    fast = AnySize(network, "eager")
    assert next(fast.parameters()) is next(network.parameters())
    assert not fast.training


def test_an_engine_that_there_is_none_of(network: Any) -> None:
    with pytest.raises(ValueError, match="engine must be one of"):
        AnySize(network, "warp")(torch.randn(1, 3, 64, 64))
