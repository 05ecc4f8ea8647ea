"""Weights of the Hugging Face hub, from a local cache in its form that the tests make, without a network."""

import os
import subprocess
import sys

import pytest
import timm
import torch
from disturbed import randomise
from hub_cache import COMMIT, add_to_cache, take_from_cache_alone
from PIL import Image

import dla
from dla.predict import load_predictor
from dla.weights import WeightsError
from dla.weights.hub import is_hub_name


@pytest.fixture(scope="module")
def theirs():
    torch.manual_seed(0)
    return randomise(timm.create_model("dla46_c"))


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return randomise(timm.create_model("test_resnet"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory, theirs, resnet):
    """A cache that holds two of timm's repositories, as huggingface_hub lays it out."""
    folder = tmp_path_factory.mktemp("hub")
    add_to_cache(folder / "models--timm--dla46_c.in1k", theirs)
    add_to_cache(folder / "models--timm--test_resnet.r160_in1k", resnet)
    return folder


@pytest.fixture
def offline(monkeypatch, cache):
    take_from_cache_alone(monkeypatch, cache)


@pytest.mark.parametrize("name", ["dla46_c", "dla46_c.in1k"])
@pytest.mark.usefixtures("offline")
@torch.no_grad()
def test_pretrained_classifiers(name, theirs):
    model = dla.create_model(name, pretrained=True).eval()
    x = torch.randn(1, 3, 64, 64)
    expected = theirs(x)
    assert (model(x) - expected).abs().max() <= 1e-5 * expected.abs().max()
    cfg = model.pretrained_cfg
    assert cfg["hf_hub_id"] == "timm/dla46_c.in1k"
    assert (cfg["num_classes"], len(cfg["classes"]), cfg["classes"][207]) == (1000, 1000, "golden retriever")
    assert (cfg["resize"], cfg["crop"], cfg["mean"]) == (256, 224, [0.485, 0.456, 0.406])
    assert all(cfg[key] == pytest.approx(theirs.pretrained_cfg[key]) for key in ("mean", "std", "crop_pct"))


@pytest.mark.usefixtures("offline")
def test_pretrained_classifiers_know_how_to_classify_a_picture():
    predictor = load_predictor("dla46_c.in1k")
    probabilities = predictor.classify(Image.new("RGB", (300, 280), "olive"))
    assert (predictor.task, predictor.resize, predictor.crop) == ("classification", 256, 224)
    assert len(probabilities) == len(predictor.classes) == 1000
    assert probabilities.sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.usefixtures("offline")
def test_other_classes_features_and_backbones(theirs):
    stem = theirs.state_dict()["base_layer.0.weight"]
    other = dla.create_model("dla46_c", pretrained=True, num_classes=7)
    assert other.head.fc.weight.shape == (7, 256)
    assert "classes" not in other.pretrained_cfg
    features = dla.create_model("dla46_c.in1k", pretrained=True, features_only=True)
    dense = dla.create_model("dla46_cup", num_classes=3)
    for name in ("timm/dla46_c.in1k", f"hf-hub:timm/dla46_c.in1k@{COMMIT}"):
        report = dla.load_weights(dense, name)
        assert set(report.ignored) == {"fc.weight", "fc.bias"}
    for trunk in (other, features.body, dense.backbone.body):
        assert torch.equal(trunk.stem[0][0].weight, stem)


@pytest.mark.parametrize("name", ["dla46_c+ida", "dla46_c.in1k+ida", "test_resnet+ida", "test_resnet.r160_in1k+ida"])
@pytest.mark.usefixtures("offline")
@torch.no_grad()
def test_backbones_under_a_structure(name, theirs, resnet):
    model = dla.create_model(name, pretrained=True, num_classes=3, out_channels=8).eval()
    x = torch.randn(1, 3, 64, 64)
    source, first = (theirs, 1) if name.startswith("dla") else (resnet, 0)
    for given, expected in zip(model.backbone(x), source.forward_intermediates(x)[1][first:], strict=True):
        assert (given - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert model.pretrained_cfg["mean"] == list(source.pretrained_cfg["mean"])


@pytest.mark.usefixtures("offline")
def test_what_is_not_in_the_cache_says_what_to_do():
    message = r"timm/dla60.in1k is no file here.*HF_HUB_OFFLINE.*`hf download timm/dla60.in1k model.safetensors`"
    with pytest.raises(WeightsError, match=message):
        dla.create_model("dla60", pretrained=True)
    with pytest.raises(WeightsError, match=r"weights/dla34 is no file here"):
        dla.load_weights(dla.create_model("dla46_c"), "weights/dla34")


def test_the_variables_of_the_environment_count(cache):
    program = "import dla; print(dla.load_weights(dla.create_model('dla46_c'), 'timm/dla46_c.in1k'))"
    environment = {**os.environ, "HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "290 tensors loaded, layout: timm"


@pytest.mark.parametrize(
    ("source", "hub"),
    [
        ("timm/dla34.in1k", True),
        ("timm/dla34.in1k@main", True),
        ("hf-hub:me/cracks", True),
        ("runs/best.ckpt", False),
        ("./weights", False),
        ("../weights", False),
        ("/weights/dla34", False),
        ("a/b/c", False),
        ("dla34-ba72cf86.pth", False),
    ],
)
def test_names_of_the_hub(source, hub):
    assert is_hub_name(source) is hub


def test_a_folder_that_is_there_is_no_name_of_the_hub(tmp_path, monkeypatch):
    (tmp_path / "me").mkdir()
    (tmp_path / "me" / "cracks").write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    assert not is_hub_name("me/cracks")


def test_a_mistyped_path_in_a_folder_does_not_go_to_the_network(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dla.weights.source.download", lambda source: pytest.fail(f"{source} is asked for"))
    message = "there is no models/ctdet, though there is a folder models here: .* write hf-hub:models/ctdet"
    with pytest.raises(WeightsError, match=message):
        dla.load_weights(dla.create_model("dla46_c"), "models/ctdet")


@pytest.mark.usefixtures("offline")
def test_pretrained_networks_are_found_beside_a_folder_of_their_owners_name(tmp_path, monkeypatch):
    (tmp_path / "timm").mkdir()
    monkeypatch.chdir(tmp_path)
    assert dla.create_model("dla46_c", pretrained=True).pretrained_cfg["hf_hub_id"] == "timm/dla46_c.in1k"


def test_all_ten_are_listed():
    assert len(dla.list_models("*.in1k", pretrained=True)) == 10
    for name in dla.list_models("*.in1k", pretrained=True):
        assert timm.get_pretrained_cfg(name).hf_hub_id == f"timm/{name}"
