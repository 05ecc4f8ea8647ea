"""The weights in the package: named, small, described, and as good on real photographs as their cards say."""

from hashlib import sha256

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import to_pil_image

import dla
from dla.cli import main
from dla.data import CamVid
from dla.data.boundaries.bsds import BSDS500
from dla.images import read_image
from dla.metrics.boundary import BoundaryMetric
from dla.predict import load_predictor
from dla.tasks import SegmentationTask
from dla.weights import WeightsError
from dla.weights.packaged import FOLDER

NAME = "dla46_cup.camvid"
FUSED = "tf_efficientnet_lite0+ida.camvid"


def test_every_file_is_listed_small_and_has_a_card():
    files = sorted(FOLDER.glob("*.safetensors"))
    listed = [name for name in dla.list_models(pretrained=True) if not name.endswith(".in1k")]
    assert [path.stem for path in files] == listed
    assert NAME in dla.list_models("*.camvid", pretrained=True)
    for path in files:
        assert path.stat().st_size < 7_000_000
        assert path.with_suffix(".md").read_text(encoding="utf-8").startswith(f"# {path.stem}")


@torch.no_grad()
def test_weights_come_with_their_facts_and_without_them_only_the_classes():
    trained, plain = dla.create_model(NAME, pretrained=True), dla.create_model(NAME)
    assert trained.num_classes == plain.num_classes == 11
    assert trained.pretrained_cfg["classes"] == list(CamVid.classes)
    assert plain.pretrained_cfg == {}
    assert not torch.equal(trained.head.classify.weight, plain.head.classify.weight)


def test_other_classes_get_a_new_head_on_the_trained_network():
    trained, other = dla.create_model(NAME, pretrained=True), dla.create_model(NAME, True, num_classes=5)
    assert other.num_classes == 5
    assert "classes" not in other.pretrained_cfg
    assert other.pretrained_cfg["mean"] == trained.pretrained_cfg["mean"]
    mine, theirs = other.state_dict(), trained.state_dict()
    assert {key for key in mine if not torch.equal(mine[key], theirs[key])} == {
        "head.classify.weight",
        "head.classify.bias",
    }


def test_a_name_without_weights_tells_those_that_have():
    with pytest.raises(ValueError, match=f"there are: .*{NAME}"):
        dla.create_model("dla34up.camvid", pretrained=True)


def test_weights_of_a_backbone_and_what_fuses_its_maps():
    plain, trained = (dla.create_model(FUSED, pretrained) for pretrained in (False, True))
    assert plain.num_classes == trained.num_classes == 11
    assert [spec.stride for spec in plain.backbone.feature_specs] == [4, 8, 16, 32]  # an option of the weights
    assert trained.pretrained_cfg["mean"] == [0.5, 0.5, 0.5]
    other = dla.create_model(FUSED, True, num_classes=3, out_indices=None)
    assert other.num_classes == 3
    assert torch.equal(other.decoder.aggregate.nodes[0].conv.weight, trained.decoder.aggregate.nodes[0].conv.weight)
    assert "classes" not in other.pretrained_cfg
    with pytest.raises(ValueError, match=r"no weights named 'resnet18\+ida\.camvid'; there are: .*\+ida\.camvid"):
        dla.create_model("resnet18+ida.camvid", pretrained=True)


def test_a_task_starts_from_them_and_goes_on_without():
    task = SegmentationTask(network=FUSED, num_classes=11)
    assert (task.origin, task.normalization) == (
        f"starts from the weights that {FUSED} names",
        ((0.5,) * 3, (0.5,) * 3),
    )
    untagged = SegmentationTask(network="tf_efficientnet_lite0+ida", num_classes=11, options=task.options)
    assert untagged.model.state_dict().keys() == task.model.state_dict().keys()
    assert torch.equal(
        task.model.state_dict()["head.classify.weight"], load_predictor(FUSED).model.head.classify.weight
    )


@pytest.mark.data
@pytest.mark.parametrize(("name", "least"), [(NAME, 0.85), (FUSED, 0.9)])  # the cards say 0.90 and 0.93, over the whole
def test_real_street_scenes(name, least, real_camvid):
    predictor = load_predictor(name)
    dataset = CamVid(real_camvid, split="val")
    right = counted = 0
    for index in range(0, len(dataset), 20):
        image, mask = dataset[index]
        pixels = (image[None] / 255 - torch.tensor(predictor.mean)[:, None, None]) / torch.tensor(predictor.std)[
            :, None, None
        ]
        with torch.inference_mode():
            predicted = predictor.model(pixels).argmax(1)[0]
        right += int((predicted == mask)[mask != 255].sum())
        counted += int((mask != 255).sum())
    assert right / counted > least


@pytest.mark.data
def test_predicts_a_real_photograph(real_camvid, tmp_path):
    photo = next((real_camvid / "val").glob("*.png"))
    assert main(["predict", str(photo), "--model", NAME, "--output", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {f"{photo.stem}.png", f"{photo.stem}_overlay.jpg"}


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize(("name", "least"), [("dla46_cup.bsds500", 0.55), ("tf_efficientnet_lite0+ida.bsds500", 0.7)])
def test_real_boundaries(name, least, real_data):
    """The cards say 0.646 and 0.766 over the whole split."""
    predictor = load_predictor(name)
    assert predictor.task == "boundaries"
    dataset, metric = BSDS500(real_data("bsds500"), "val"), BoundaryMetric(thresholds=9)
    for index in range(0, len(dataset), 25):
        image, truths = dataset[index]
        metric.update([torch.from_numpy(predictor.boundaries(to_pil_image(image)))], [truths])
    assert metric.compute()["ods"] > least


def test_small_images_come_with_their_stem():
    model = dla.create_model("dla46_c.cifar10", pretrained=True)
    assert [spec.stride for spec in model.feature_specs] == [1, 1, 1, 2, 4, 8]
    assert dla.create_model("dla46_c.cifar10", pretrained=True, num_classes=3).num_classes == 3


@pytest.mark.slow
@pytest.mark.data
def test_real_small_images(real_data):
    predictor = load_predictor("dla46_c.cifar10")
    right = counted = 0
    for number, name in enumerate(predictor.classes):
        val = sorted((real_data("cifar10") / "train" / name).glob("*.png"), key=digest_of_pixels)[9::10]
        for path in val[::25]:
            right += int(predictor.classify(read_image(path)).argmax()) == number
            counted += 1
    assert counted == 200
    assert right / counted > 0.83  # the card says 0.883 over all 5,000


def digest_of_pixels(path):
    with Image.open(path) as image:
        return sha256(np.asarray(image).transpose(2, 0, 1).tobytes()).digest()


def test_a_name_of_the_package_is_no_file():
    with pytest.raises(WeightsError, match=r"dla46_cup.camvid is no file, but a network with its weights: dla.create"):
        dla.load_weights(dla.create_model("dla46_cup"), "dla46_cup.camvid")
