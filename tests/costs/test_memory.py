"""What a training step needs is counted as by hand, and is below the limits that the project promises."""

import warnings

import pytest
import torch
from torch import nn
from torch.torch_version import TorchVersion

import dla
from dla.costs import training_memory

MIB = 2**20
SIDES = (12, 20)
MAP = 4 * 16 * SIDES[0] * SIDES[1]  # bytes of 16 channels


def chain(length):
    """Convolutions with batch norm and activation between them, all of 16 channels."""
    layers = [nn.Conv2d(3, 16, 1)]
    for _ in range(length):
        layers += [nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 1)]
    return nn.Sequential(*layers)


def grows(**options):
    """Maps that each further layer of a chain adds."""
    short, long = (training_memory(lambda length=length: chain(length), SIDES, 4, **options) for length in (3, 8))
    return (long - short) / 5 / MAP


def test_plain_training_keeps_two_maps_a_layer():
    """Batch norm its input, the convolution its own."""
    assert grows() == pytest.approx(2, abs=0.01)


def test_recomputing_keeps_one():
    assert grows(recompute=0) == pytest.approx(1, abs=0.01)


def counted(name, **options):
    return training_memory(lambda: dla.create_model(name), **options) / MIB


@pytest.mark.parametrize(
    ("name", "limit"), [("dla34", 22), ("dla60", 45), pytest.param("dla102", 66, marks=pytest.mark.slow)]
)
def test_memory_at_224_is_below_its_limit(name, limit):
    """MiB an image, as the networks are by default."""
    assert counted(name) < limit


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("dla34", "timm/resnet34"),
        pytest.param("dla60", "timm/resnet50", marks=pytest.mark.slow),
        pytest.param("dla102", "timm/resnet101", marks=pytest.mark.slow),
    ],
)
def test_it_is_well_below_a_resnets_of_equal_depth(ours, theirs):
    assert counted(ours) < 0.7 * counted(theirs)


def switched_off(name):
    return dla.create_model(name, memory_efficient=False)


def test_switched_off_it_is_what_timms_needs_but_for_maps_that_timm_pools_twice():
    assert 0.98 < training_memory(lambda: switched_off("dla34")) / MIB / counted("timm/dla34") < 1


def test_checkpointing_keeps_less():
    def checkpointed():
        model = switched_off("dla46_c")
        model.set_grad_checkpointing()
        return model

    assert training_memory(checkpointed) < 0.7 * training_memory(lambda: switched_off("dla46_c"))


def test_a_network_whose_building_looks_at_numbers():
    """timm's ConvNeXt reads its rates of stochastic depth from a tensor."""
    assert training_memory(lambda: dla.create_model("timm/convnext_atto", num_classes=2), (64, 64), 2) > 0


class Shared(nn.Module):
    """A layer that is part of two others, and a weight that two layers have."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        self.second = nn.Sequential(self.first, nn.ReLU())
        self.third = nn.Conv2d(3, 3, 3, padding=1)
        self.third.weight = self.first.weight

    def forward(self, x):
        return self.third(self.second(self.first(x)))


def test_what_is_shared_is_counted_at_the_first_call():
    assert training_memory(Shared, SIDES) == training_memory(Shared, SIDES) > 0


def test_what_is_frozen_needs_less():
    """A linear probe keeps no maps for gradients that nobody wants."""

    def probe() -> nn.Module:
        model = dla.create_model("timm/resnet18", num_classes=2).requires_grad_(False)
        model.fc.requires_grad_(True)
        return model

    whole = training_memory(lambda: dla.create_model("timm/resnet18", num_classes=2), SIDES)
    assert 0 < training_memory(probe, SIDES) < whole / 2


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: training_memory(chain(1)), TypeError, "is a Sequential; expected a function that makes it"),
        (lambda: training_memory("dla34"), TypeError, "is a str; expected a function that makes it"),
        (lambda: training_memory(lambda: chain(1), (0, 64)), ValueError, r"size is \(0, 64\); expected height"),
        (lambda: training_memory(lambda: chain(1), "64"), ValueError, "size is '64'; expected height"),
        (lambda: training_memory(lambda: chain(1).requires_grad_(False), SIDES), ValueError, "nothing in the network"),
        (lambda: training_memory(lambda: chain(1), 64), ValueError, "size is 64; expected height and width"),
        (lambda: training_memory(lambda: chain(1), SIDES, 0), ValueError, "batch is 0; expected .* at least 1"),
        (
            lambda: training_memory(lambda: dla.create_model("dla46_c", width=0.25, features_only=True), SIDES),
            ValueError,
            "in training the network gives a list; expected one that gives a tensor",
        ),
    ],
)
@pytest.mark.usefixtures("unchecked_shapes")  # nor types
def test_bad_arguments_are_told(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(("options", "warned"), [({}, True), ({"memory_efficient": False}, False)])
def test_before_torch_2_10_it_says_that_it_counts_too_much(monkeypatch, options, warned):
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.9.1"))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        training_memory(lambda: dla.create_model("dla46_c", width=0.25, **options), (32, 32), 2)
    assert any("torch 2.9.1 counts too much" in str(warning.message) for warning in found) == warned


def test_images_of_other_channels():
    """Their own bytes are none of the network's."""
    three, five = (training_memory(lambda n=n: nn.Conv2d(n, 16, 1), SIDES, 4, in_chans=n) for n in (3, 5))
    assert three == five > 0
