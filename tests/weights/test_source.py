"""Weights are found in a file, whole and of tensors alone, and under whatever a wrapper put around them."""

import hashlib

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

import dla
from dla.weights import WeightsError
from dla.weights.checkpoint import CheckpointError


@torch.no_grad()
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_files(tmp_path, state, suffix):
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    model = dla.create_model("dla46_c", num_classes=5)
    dla.load_weights(model, path)
    torch.testing.assert_close(model.stem[0][0].weight, state["base_layer.0.weight"])


def test_files_that_cannot_be_read_are_named(tmp_path):
    model = dla.create_model("dla46_c")
    with pytest.raises(WeightsError, match=r"none\.safetensors cannot be read"):
        dla.load_weights(model, tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"not weights")
    with pytest.raises(WeightsError, match=r"bad\.safetensors cannot be read"):
        dla.load_weights(model, tmp_path / "bad.safetensors")


def test_what_is_no_state_dict_is_told(tmp_path):
    torch.save({"state_dict": {0: torch.zeros(3)}}, tmp_path / "optimizer.pt")
    with pytest.raises(WeightsError, match="weights have names as keys, and not 0: give the state dict"):
        dla.load_weights(dla.create_model("dla46_c"), tmp_path / "optimizer.pt")


def wrappers():
    """How training programs write weights, and what they put before the names."""
    yield "plain", lambda state: state
    yield "state_dict", lambda state: {"state_dict": state, "epoch": 3, "best_prec1": 0.5}
    yield "model_state_dict", lambda state: {"model_state_dict": state, "optimizer_state_dict": {}}
    yield "model", lambda state: {"model": state, "args": {"lr": 0.1}}


PREFIXES = ["", "model.", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model._orig_mod.module."]


@pytest.mark.parametrize("wrap", [pytest.param(wrap, id=name) for name, wrap in wrappers()])
@pytest.mark.parametrize("layout", ["timm", "ours"])
def test_wrappers_and_prefixes(state, layout, wrap):
    source = dla.create_model("dla46_c", num_classes=5)
    dla.load_weights(source, state)
    expected = source.state_dict()
    given = state if layout == "timm" else expected
    with torch.device("meta"):
        model = dla.create_model("dla46_c", num_classes=5)
    for prefix in PREFIXES:
        model.to_empty(device="cpu")
        report = dla.load_weights(model, wrap({f"{prefix}{key}": value for key, value in given.items()}))
        assert report.ignored == ()
        assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("prefix", ["model.", "_orig_mod.model."])
def test_beside_the_network_of_a_task_nothing_is_taken(state, prefix):
    outer = prefix.removesuffix("model.")
    task = {f"{prefix}{key}": value for key, value in state.items()} | {f"{outer}val_iou.confusion": torch.ones(2, 2)}
    model = dla.create_model("dla46_c", num_classes=5)
    report = dla.load_weights(model, {"state_dict": task})
    assert torch.equal(model.stem[0][0].weight, state["base_layer.0.weight"])
    assert report.beside == ("val_iou.confusion",)
    assert "1 not taken because they stand beside the network: val_iou.confusion" in str(report)


def test_a_network_whose_own_names_start_like_a_prefix():
    model, other, third = (dla.create_model("torchvision/squeezenet1_1", num_classes=2) for _ in range(3))
    own = model.state_dict()
    assert all(key.startswith("model.") for key in own)
    dla.load_weights(other, own)
    dla.load_weights(third, {"state_dict": {**{f"model.{key}": own[key] for key in own}, "loss.weight": torch.ones(2)}})
    for copy in (other, third):
        assert all(torch.equal(value, own[key]) for key, value in copy.state_dict().items())


def test_averages_of_weights_are_read(state):
    average = AveragedModel(dla.create_model("dla46_c", num_classes=5))
    dla.load_weights(average, state)
    model = dla.create_model("dla46_c", num_classes=5)
    assert dla.load_weights(model, average.state_dict()).beside == ("n_averaged",)
    assert torch.equal(model.stem[0][0].weight, state["base_layer.0.weight"])


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("source", [nn.Linear(1, 1), ["weights"], None])
def test_what_holds_no_weights_is_told(source):
    with pytest.raises(TypeError, match=r"not (Linear|list|NoneType): of a network, give its state_dict\(\)"):
        dla.load_weights(dla.create_model("dla46_c"), source)


@pytest.mark.parametrize("number", ["20240115", "202401151230", "1700000000", "00012000"])
def test_a_date_or_a_step_in_a_name_is_no_hash(tmp_path, state, number):
    torch.save(state, tmp_path / f"model-{number}.pth")
    dla.load_weights(dla.create_model("dla46_c", num_classes=5), tmp_path / f"model-{number}.pth")


@pytest.mark.parametrize(
    "wrap", [lambda state: state, lambda state: {"state_dict": state, "epoch": 3, "best_prec1": 0.5}]
)
def test_data_parallel_training_and_files_without_counters(state, wrap):
    old = {f"module.{key}": value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    model = dla.create_model("dla46_c", num_classes=5)
    dla.load_weights(model, wrap(old))
    assert torch.equal(model.stem[0][1].running_var, state["base_layer.1.running_var"])
    assert model.stem[0][1].num_batches_tracked == 0


def test_a_prefix_that_only_some_names_have_is_unknown(state):
    half = {f"module.{key}" if key.startswith("level5") else key: value for key, value in state.items()}
    with pytest.raises(WeightsError, match=r"missing: stages.5.*unknown: module.level5"):
        dla.load_weights(dla.create_model("dla46_c", num_classes=5), half)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_the_hash_in_a_name_is_checked(tmp_path, state, suffix):
    plain = tmp_path / f"plain{suffix}"
    save_file(state, plain) if suffix == ".safetensors" else torch.save(state, plain)
    digest = hashlib.sha256(plain.read_bytes()).hexdigest()
    model = dla.create_model("dla46_c", num_classes=5)
    for right in (digest[:8], digest):
        dla.load_weights(model, plain.rename(tmp_path / f"dla46_c-{right}{suffix}"))
        plain = tmp_path / f"dla46_c-{right}{suffix}"
    wrong = plain.rename(tmp_path / f"dla46_c-0badcafe{suffix}")
    with pytest.raises(WeightsError, match=f"-0badcafe{suffix} is not what its name says.* starts with {digest[:8]}"):
        dla.load_weights(model, wrong)


class Weapon:
    def __reduce__(self):
        return (print, ("run",))


def test_nothing_but_tensors_is_unpickled(tmp_path, state, capsys):
    torch.save({**state, "fc.bias": Weapon()}, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="objects other than tensors"):
        dla.load_weights(dla.create_model("dla46_c", num_classes=5), tmp_path / "weights.pth")
    assert capsys.readouterr().out == ""


def test_other_weights_beside_the_networks_are_reported(state):
    average = {key: value + 1 for key, value in state.items()}
    given = {"state_dict": state, "state_dict_ema": average, "optimizer": {"state": {}, "param_groups": []}, "epoch": 3}
    report = dla.load_weights(dla.create_model("dla46_c", num_classes=5), given)
    assert report.beside == ("state_dict_ema",)
