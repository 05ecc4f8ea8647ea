"""Weights are loaded strictly, from memory or file, and whatever does not fit is named."""

import hashlib

import pytest
import timm
import torch
from safetensors.torch import save_file

import dla
from dla.checkpoint import CheckpointError
from dla.weights import WeightsError, packaged
from dla.weights.packaged import load_packaged, pack


@pytest.fixture(scope="module")
def state():
    return timm.create_model("dla46_c", num_classes=5).state_dict()


@torch.no_grad()
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_files(tmp_path, state, suffix):
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    model = dla.create_model("dla46_c", num_classes=5)
    dla.load_weights(model, path)
    torch.testing.assert_close(model.stem[0][0].weight, state["base_layer.0.weight"])


@pytest.mark.parametrize("layout", ["timm", "ours"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dla46_cup", {}),
        ("dla46_c", {"num_classes": 0}),
        ("dla46_c", {"features_only": True}),
        ("dla46_c", {"features_only": True, "out_indices": (1, 3)}),
    ],
)
def test_a_classifiers_weights_fit_what_is_built_on_it(state, layout, name, options):
    classifier = dla.create_model("dla46_c", num_classes=5)
    dla.load_weights(classifier, state)
    model = dla.create_model(name, **options)
    dla.load_weights(model, state if layout == "timm" else classifier.state_dict())
    loaded = {key.rpartition("body.")[2]: value for key, value in model.state_dict().items()}
    for key in ("stem.0.0.weight", "stages.3.aggregate.nodes.1.conv.weight"):
        assert torch.equal(loaded[key], classifier.state_dict()[key])


def test_files_that_cannot_be_read_are_named(tmp_path):
    model = dla.create_model("dla46_c")
    with pytest.raises(WeightsError, match=r"none\.safetensors cannot be read"):
        dla.load_weights(model, tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"not weights")
    with pytest.raises(WeightsError, match=r"bad\.safetensors cannot be read"):
        dla.load_weights(model, tmp_path / "bad.safetensors")


def test_our_own_layout_and_training_checkpoints(tmp_path):
    model, other = (dla.create_model("dla46_cida", num_classes=3) for _ in range(2))
    dla.load_weights(other, model.state_dict())
    checkpoint = {"state_dict": {f"model.{key}": value for key, value in model.state_dict().items()}, "epoch": 3}
    torch.save(checkpoint, tmp_path / "last.ckpt")
    third = dla.create_model("dla46_cida", num_classes=3)
    dla.load_weights(third, tmp_path / "last.ckpt")
    for a, b, c in zip(model.parameters(), other.parameters(), third.parameters(), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_misfits_are_named_and_nothing_is_loaded(state):
    model = dla.create_model("dla46_c", num_classes=5)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    lacking = {key: value for key, value in state.items() if "level2.root.bn" not in key}
    with pytest.raises(WeightsError, match=r"5 missing: stages.2.aggregate.nodes.0.norm.bias"):
        dla.load_weights(model, lacking)
    with pytest.raises(WeightsError, match=r"1 unknown: level2\.project\.9\.weight"):
        dla.load_weights(model, {**state, "level2.project.9.weight": torch.zeros(1)})
    with pytest.raises(WeightsError, match=r"head.fc.weight \(5, 256\) instead of \(7, 256\)"):
        dla.load_weights(dla.create_model("dla46_c", num_classes=7), state)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_what_is_no_state_dict_is_told(tmp_path):
    torch.save({"state_dict": {0: torch.zeros(3)}}, tmp_path / "optimizer.pt")
    with pytest.raises(WeightsError, match="weights have names as keys, and not 0: give the state dict"):
        dla.load_weights(dla.create_model("dla46_c"), tmp_path / "optimizer.pt")


def test_another_network_is_refused(state):
    with pytest.raises(WeightsError, match="do not fit the model"):
        dla.load_weights(dla.create_model("dla34", num_classes=5), state)


@torch.no_grad()
def test_packed_weights_come_back_with_their_facts(tmp_path):
    model = dla.create_model("dla46_cida", num_classes=2).eval()
    cfg = {
        "num_classes": 2,
        "classes": ["a", "b"],
        "colors": [[0, 0, 0], [1, 2, 3]],
        "mean": [0.5] * 3,
        "std": [1.0] * 3,
    }
    pack(model, cfg, tmp_path / "dla46_cida.toy.safetensors")
    found = packaged(tmp_path)
    assert list(found) == ["dla46_cida.toy"]
    copy = dla.create_model("dla46_cida", num_classes=2).eval()
    load_packaged(copy, found["dla46_cida.toy"])
    assert copy.pretrained_cfg == cfg
    x = torch.randn(1, 3, 70, 65)
    assert (copy(x) - model(x)).abs().max() < 2e-2 * model(x).abs().max()  # what float16 costs


@torch.no_grad()
def test_the_last_layer_may_be_linear(state):
    linear = {**state, "fc.weight": state["fc.weight"].flatten(1)}
    models = [dla.create_model("dla46_c", num_classes=5) for _ in range(2)]
    for model, source in zip(models, (state, linear), strict=True):
        assert len(dla.load_weights(model, source).mapped) == len(state)
    assert torch.equal(models[0].head.fc.weight, models[1].head.fc.weight)


def test_the_report_says_where_everything_went(state):
    report = dla.load_weights(dla.create_model("dla46_cup", num_classes=3), state)
    assert report.layout == "timm"
    assert report.mapped["backbone.body.stem.0.0.weight"] == "base_layer.0.weight"
    assert len(report.mapped) == len(state) - 2
    assert report.ignored == ("fc.weight", "fc.bias")
    assert report.reinitialised == ()
    assert {key.partition(".")[0] for key in report.untouched} == {"decoder", "head"}
    lines = str(report).splitlines()
    assert lines[:2] == ["288 tensors loaded, layout: timm", "2 ignored because unused: fc.weight, fc.bias"]
    assert lines[2].startswith(f"{len(report.untouched)} untouched because the weights are a classifier's: decoder.")

    report = dla.load_weights(dla.create_model("dla46_c", num_classes=7), state, new_head=True)
    assert report.reinitialised == ("head.fc.weight", "head.fc.bias")
    assert "2 reinitialised because the classes differ: head.fc.weight, head.fc.bias" in str(report)


def test_no_tensor_is_in_two_places_or_in_none(state):
    model = dla.create_model("dla46_c", features_only=True, out_indices=(1, 3))
    report = dla.load_weights(model, state)
    assert sorted([*report.mapped.values(), *report.ignored]) == sorted(state)
    assert sorted([*report.mapped, *report.reinitialised, *report.untouched]) == sorted(model.state_dict())


@pytest.mark.parametrize(
    "wrap", [lambda state: state, lambda state: {"state_dict": state, "epoch": 3, "best_prec1": 0.5}]
)
def test_data_parallel_training_and_files_without_counters(state, wrap):
    old = {f"module.{key}": value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    model = dla.create_model("dla46_c", num_classes=5)
    dla.load_weights(model, wrap(old))
    assert torch.equal(model.stem[0][1].running_var, state["base_layer.1.running_var"])
    assert model.stem[0][1].num_batches_tracked == 0


def test_a_single_missing_counter_is_missed(state):
    lacking = {key: value for key, value in state.items() if key != "base_layer.1.num_batches_tracked"}
    with pytest.raises(WeightsError, match=r"1 missing: stem.0.1.num_batches_tracked"):
        dla.load_weights(dla.create_model("dla46_c", num_classes=5), lacking)


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
