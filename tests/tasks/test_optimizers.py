"""Optimizers by name, what their weight decay takes, and how the rate follows the batch."""

import pytest
import torch
from timm.optim import Lamb

import dla
from dla.tasks import ClassificationTask
from dla.tasks.optimizers import make_optimizer, scaled_rate

SETTINGS = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.02}


@pytest.mark.parametrize(("kind", "expected"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW), ("lamb", Lamb)])
def test_an_optimizer_takes_every_parameter_once(kind, expected):
    model = dla.create_model("dla46_c", num_classes=3)
    for decay_norms in (True, False):
        optimizer = make_optimizer([model], kind, decay_norms=decay_norms, **SETTINGS)
        assert type(optimizer) is expected
        taken = [id(p) for group in optimizer.param_groups for p in group["params"]]
        assert sorted(taken) == sorted(id(p) for p in model.parameters())
        assert {group["lr"] for group in optimizer.param_groups} == {0.1}


@pytest.mark.parametrize("kind", ["sgd", "adamw", "lamb"])
def test_decay_takes_all_alike_as_the_authors_had_it(kind):
    (group,) = make_optimizer([dla.create_model("dla46_c")], kind, decay_norms=True, **SETTINGS).param_groups
    assert group["weight_decay"] == 0.02
    assert kind != "sgd" or group["momentum"] == 0.9


@pytest.mark.parametrize("name", ["dla46_c", "dla46_cup"])
def test_decay_leaves_out_norms_biases_and_what_a_network_names(name):
    model = dla.create_model(name, num_classes=3)
    groups = make_optimizer([model], "adamw", decay_norms=False, **SETTINGS).param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    for key, parameter in model.named_parameters():
        kept = parameter.ndim == 1 or key in model.no_weight_decay()
        assert decay[id(parameter)] == (0 if kept else 0.02), key


@pytest.mark.parametrize("name", ["timm/resnet10t", "torchvision/squeezenet1_1"])
def test_decay_leaves_out_norms_and_biases_of_networks_of_others(name):
    model = dla.create_model(name, num_classes=3)
    groups = make_optimizer([model], "adamw", decay_norms=False, **SETTINGS).param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert {(p.ndim > 1, decay[id(p)]) for p in model.parameters()} == {(True, 0.02), (False, 0)}


def test_what_is_trained_beside_a_network_decays_alike():
    network, beside = dla.create_model("dla46_c", num_classes=3), torch.nn.Conv2d(4, 2, 1)
    for modules in ([network, beside], [network, torch.nn.ModuleList()]):
        groups = make_optimizer(modules, "adamw", decay_norms=False, **SETTINGS).param_groups
        decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
        assert len(decay) == sum(len(list(module.parameters())) for module in modules)
        assert (decay.get(id(beside.weight), 0.02), decay.get(id(beside.bias), 0)) == (0.02, 0)


def test_the_rate_follows_the_batch():
    assert scaled_rate(0.1, 1024, 256, "sgd") == pytest.approx(0.4)
    assert scaled_rate(0.1, 64, 256, "sgd") == pytest.approx(0.025)
    assert scaled_rate(0.005, 256, 2048, "lamb") == pytest.approx(0.005 / 8**0.5)
    assert scaled_rate(0.001, 1024, 256, "adamw") == pytest.approx(0.002)


@pytest.mark.usefixtures("unchecked_shapes")  # with which the annotation refuses it before
def test_an_unknown_optimizer_is_named_before_the_network_is_built():
    with pytest.raises(ValueError, match="optimizer is 'adam'; expected one of sgd, adamw, lamb"):
        ClassificationTask(network="none", num_classes=3, optimizer="adam")
