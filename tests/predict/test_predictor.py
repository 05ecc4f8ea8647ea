"""A predictor comes from packaged weights or from a run's checkpoint, or its fault is named."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hub_cache import take_from_cache_alone
from PIL import Image
from torchvision.transforms.v2 import functional as transforms

import dla
from dla.data.classification.views import center_view
from dla.hub import HubModel
from dla.inference import predict_probabilities
from dla.predict import load_predictor
from dla.weights import WeightsError
from dla.weights.checkpoint import CheckpointError

DESCRIPTION = {
    "model": "dla46_cida",
    "num_classes": 2,
    "classes": ["road", "sky"],
    "colors": [[255, 0, 0], [0, 0, 255]],
    "mean": [0.4, 0.5, 0.6],
    "std": [0.2, 0.3, 0.25],
}


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return dla.create_model("dla46_cida", num_classes=2)


@pytest.fixture
def checkpoint(network) -> dict:
    state = {f"model.{key}": value for key, value in network.state_dict().items()}
    return {"dla": dict(DESCRIPTION), "state_dict": {**state, "val_iou.confusion": torch.ones(2, 2)}}


def test_a_checkpoint_gives_its_network_and_description(tmp_path, checkpoint, network):
    torch.save(checkpoint, tmp_path / "a.ckpt")
    predictor = load_predictor(tmp_path / "a.ckpt", "cpu")
    assert predictor.classes == ("road", "sky")
    assert predictor.colors == ((255, 0, 0), (0, 0, 255))
    assert (predictor.mean, predictor.std) == ((0.4, 0.5, 0.6), (0.2, 0.3, 0.25))
    assert not predictor.model.training
    for name, value in network.state_dict().items():
        assert torch.equal(predictor.model.state_dict()[name], value)


@pytest.mark.parametrize("task", ["boundaries", "classification", "detection"])
def test_calls_for_another_task_are_refused(tmp_path, checkpoint, task):
    torch.save(checkpoint, tmp_path / "a.ckpt")
    predictor = replace(load_predictor(tmp_path / "a.ckpt"), task=task)
    ways = {"boundaries": r": call \.boundaries", "classification": r": call \.classify"}
    said = f"this network is one of {task}, and this call for segmentation{ways.get(task, '')}$"
    with pytest.raises(ValueError, match=said):
        predictor.segment(Image.new("RGB", (20, 20)))


def test_pictures_are_normalised_as_in_training(tmp_path, checkpoint, network):
    torch.save(checkpoint, tmp_path / "a.ckpt")
    pixels = np.random.default_rng(0).integers(0, 256, (65, 70, 3), dtype=np.uint8)
    mask = load_predictor(tmp_path / "a.ckpt").segment(Image.fromarray(pixels), scales=(0.5, 1), flip=True, window=48)
    inputs = (torch.from_numpy(pixels) / 255 - torch.tensor([0.4, 0.5, 0.6])) / torch.tensor([0.2, 0.3, 0.25])
    expected = predict_probabilities(
        network.eval(), inputs.permute(2, 0, 1)[None], scales=(0.5, 1), flip=True, window=48
    ).argmax(1)
    assert mask.dtype == np.uint8
    assert mask.shape == (65, 70)
    assert (mask == expected[0].numpy()).mean() > 0.999  # up to rounding where two classes are equal


def test_packaged_weights_are_loaded_by_name(monkeypatch, network):
    network.pretrained_cfg = {key: value for key, value in DESCRIPTION.items() if key != "model"}
    names = {("dla46_cida.toy", True): network}
    monkeypatch.setattr("dla.predict.load.list_models", lambda *, pretrained: [name for name, _ in names])
    monkeypatch.setattr("dla.predict.load.create_model", lambda name, *, pretrained: names[name, pretrained])
    predictor = load_predictor("dla46_cida.toy")
    assert predictor.model is network
    assert predictor.classes == ("road", "sky")
    with pytest.raises(ValueError, match=r"dla34up.toy is neither .* use one of dla46_cida.toy"):
        load_predictor("dla34up.toy")
    network.pretrained_cfg = {"mean": (0.5, 0.5, 0.5)}
    with pytest.raises(CheckpointError, match=r"the model dla46_cida.toy does not say how to use it.*'classes'"):
        load_predictor("dla46_cida.toy")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "dla47"}, "is of the model 'dla47', which this version does not know"),
        ({"model": 3}, "is of the model 3"),
        ({"num_classes": 300}, "num_classes 300: masks of 8 bits take 1 to 256"),
        ({"num_classes": None}, "num_classes None: expected a whole number"),
        ({"num_classes": 0, "task": "classification"}, "num_classes 0: expected a whole number of at least 1"),
        ({"classes": ["road"]}, "contradicts itself: segmentation, 2 outputs, 1 class names, 2 colours"),
        ({"colors": []}, "contradicts itself: segmentation, 2 outputs, 2 class names, 0 colours"),
        ({"colors": [[0, 0, 0], [0, 0, 256]]}, r"\[0, 0, 256\] is not a colour"),
        ({"colors": [[0, 0], [0, 0]]}, "does not say how to use it"),
        ({"mean": 0.5}, "does not say how to use it"),
        ({"std": [1, 0, 1]}, "std be positive"),
        ({"num_classes": 3}, "does not fit the .* it names: .* of another shape"),
    ],
)
def test_a_wrong_description_is_named(tmp_path, checkpoint, change, message):
    checkpoint["dla"].update(change)
    torch.save(checkpoint, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=f"(?s)a.ckpt.*{message}"):
        load_predictor(tmp_path / "a.ckpt")


@pytest.mark.parametrize(
    ("keys", "lacks"), [(["dla"], '"dla" of'), (["state_dict"], '"state_dict" of'), (["dla", "state_dict"], None)]
)
def test_a_checkpoint_of_something_else_is_named_with_what_to_do(tmp_path, checkpoint, keys, lacks):
    for key in keys:
        del checkpoint[key]
    torch.save(checkpoint, tmp_path / "a.ckpt")
    lacks = lacks or '"dla" and "state_dict" of'
    with pytest.raises(
        CheckpointError, match=rf"a.ckpt lacks {lacks} .*`dla fit`.*dla.load_weights.*`dla export NETWORK --weights"
    ):
        load_predictor(tmp_path / "a.ckpt")


def test_missing_and_unexpected_weights_are_named(tmp_path, checkpoint):
    name = next(key for key in checkpoint["state_dict"] if key.startswith("model."))
    checkpoint["state_dict"]["model.extra"] = checkpoint["state_dict"].pop(name)
    torch.save(checkpoint, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError) as caught:
        load_predictor(tmp_path / "a.ckpt")
    assert "extra" in str(caught.value)
    assert name.removeprefix("model.") in str(caught.value)


def test_a_weight_that_is_no_tensor_is_named(tmp_path, checkpoint):
    name = next(key for key in checkpoint["state_dict"] if key.startswith("model."))
    checkpoint["state_dict"][name] = 3
    torch.save(checkpoint, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=name.removeprefix("model.")):
        load_predictor(tmp_path / "a.ckpt")


def test_what_is_neither_a_name_nor_a_file_is_named():
    with pytest.raises(
        ValueError,
        match=r"nothing.ckpt is neither a checkpoint file, nor a folder of dla.hub, nor a model with packaged",
    ):
        load_predictor("nothing.ckpt")


def test_a_classifier_sees_what_was_measured():
    """To the bit: Pillow's resizing, which rounds otherwise, would give other logits than `dla validate`."""
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 90, 70), dtype=np.uint8))
    predictor = replace(load_predictor("dla46_c.cifar10"), resize=48, crop=32)
    seen = transforms.pil_to_tensor(predictor.framed(transforms.to_pil_image(pixels)))
    assert torch.equal(seen, center_view(crop=32, resize=48)(pixels))


FACTS = {key: fact for key, fact in DESCRIPTION.items() if key not in ("model", "num_classes")}


@torch.no_grad()
def test_a_folder_of_the_hub_segments_as_the_network(tmp_path, network):
    saved = HubModel("dla46_cida", num_classes=2, cfg=FACTS)
    dla.load_weights(saved.network, network.state_dict())
    saved.save_pretrained(tmp_path / "mine")
    predictor = load_predictor(tmp_path / "mine")
    assert (predictor.task, predictor.classes, predictor.std) == ("segmentation", ("road", "sky"), (0.2, 0.3, 0.25))
    picture = Image.effect_noise((40, 30), 80).convert("RGB")
    logits = network.eval()(predictor.inputs(picture))
    assert np.array_equal(predictor.segment(picture), logits[0].argmax(0).numpy())


def test_a_classifier_of_the_hub_is_known_as_one(tmp_path):
    facts = {key: FACTS[key] for key in ("classes", "mean", "std")}
    HubModel("dla46_c", num_classes=2, cfg=facts).save_pretrained(tmp_path / "mine")
    assert load_predictor(tmp_path / "mine").task == "classification"


def test_a_folder_that_does_not_say_what_its_classes_are(tmp_path):
    HubModel("dla46_c", num_classes=2).save_pretrained(tmp_path / "mine")
    with pytest.raises(CheckpointError, match=r"mine does not say how to use it.*classes"):
        load_predictor(tmp_path / "mine")


def test_a_repository_out_of_reach_says_what_to_do(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="me/cracks is no file here, and of the Hugging Face hub it is neither"):
        load_predictor("me/cracks")


@torch.no_grad()
def test_a_run_becomes_a_folder_of_the_hub_and_says_all_it_said(tmp_path, checkpoint):
    torch.save(checkpoint, tmp_path / "a.ckpt")
    model = HubModel.from_run(tmp_path / "a.ckpt")
    assert not model.training
    model.save_pretrained(tmp_path / "mine")
    run, shared = load_predictor(tmp_path / "a.ckpt"), load_predictor(tmp_path / "mine")
    assert replace(run, model=shared.model) == shared
    torch.testing.assert_close(run.model.state_dict(), shared.model.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("me/cracks", ("road", "sky")),
        ("me/cracks@main", ("road", "sky")),
        ("hf-hub:me/cracks", ("road", "sky")),
        ("me/cracks@v1", ("wall", "crack")),
    ],
)
def test_a_repository_in_the_cache_is_found_at_its_revision(tmp_path, monkeypatch, name, classes):
    entry = tmp_path / "models--me--cracks"
    (entry / "refs").mkdir(parents=True)
    for ref, revision, facts in (("main", "0" * 40, FACTS), ("v1", "1" * 40, FACTS | {"classes": ["wall", "crack"]})):
        HubModel("dla46_cida", num_classes=2, cfg=facts).save_pretrained(entry / "snapshots" / revision)
        (entry / "refs" / ref).write_text(revision)
    take_from_cache_alone(monkeypatch, tmp_path)
    assert load_predictor(name).classes == classes


@pytest.mark.parametrize("scales", [[], [0.0], [-1.0]])
def test_scales_that_are_none_are_refused(scales):
    predictor = load_predictor("dla46_cup.camvid")
    with pytest.raises(ValueError, match="scales must be one or more positive numbers"):
        predictor.segment(Image.new("RGB", (40, 30)), scales=scales)
