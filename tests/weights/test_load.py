"""Weights are loaded strictly, from memory or file, and whatever does not fit is named."""

import pytest
import timm
import torch
from safetensors.torch import save_file

import dla
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
