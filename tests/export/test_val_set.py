"""`dla export --test` on whatever set a run was trained with."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from disturbed import disturbed
from image_files import random_image, save_image
from PIL import Image
from run_files import save_checkpoint
from torch import Tensor
from torch.nn.functional import one_hot
from torchmetrics.classification import MulticlassJaccardIndex

import dla
from dla.data import DigitsData, FolderData
from dla.export.accuracy import accuracy
from dla.export.command import main
from dla.export.val_set import val_set
from dla.metrics.boundary import BoundaryMetric
from dla.predict import Predictor, load_predictor

COLORS = [(0, 0, 0), (200, 30, 30)]
SET: dict[str, Any] = {
    "classes": ["wall", "crack"],
    "images": "all",
    "annotations": "all",
    "suffix": "_mask",
    "hold_out": True,
    "values": COLORS,
    "void": "other",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twenty images and their painted annotations in one folder, two of which are held out."""
    rng = np.random.default_rng(0)
    for i in range(20):
        save_image(tmp_path / "all" / f"{i:02}.png", random_image(i, 64, 64))
        painted = np.array([*COLORS, (9, 9, 9)], np.uint8)[rng.integers(0, 3, (64, 64))]
        save_image(tmp_path / "all" / f"{i:02}_mask.png", painted)
    return tmp_path


def config(path: Path, name: str = "dla.data.FolderData", **options: Any) -> str:
    """A configuration as `dla fit` writes it, of tuples as lists, with more in it than the data."""
    options = {key: [*map(list, value)] if key == "values" else value for key, value in options.items()}
    data = {"class_path": name, "init_args": options}
    path.write_text(yaml.safe_dump({"seed_everything": 3, "trainer": {"max_epochs": 2}, "data": data}))
    return str(path)


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    facts = {"model": "dla46_cida", "num_classes": 2, "classes": SET["classes"], "colors": COLORS}
    network = disturbed("dla46_cida", num_classes=2)
    return save_checkpoint(tmp_path / "best.ckpt", network, **facts, mean=[0.5] * 3, std=[0.2] * 3)


def test_mean_iou_on_the_set_of_a_run(root: Path, checkpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--format", "torch-export", "--output", str(root / "x.pt2"), "--size", "64", "64"]
    assert main([checkpoint, *options, "--test", config(root / "config.yaml", root=str(root), **SET)]) == 0
    predictor, iou = load_predictor(checkpoint), MulticlassJaccardIndex(2, ignore_index=255)
    held = FolderData(str(root), **SET).read("val")
    for image, mask in (held[i] for i in range(2)):
        found = predictor.segment(Image.fromarray(image.permute(1, 2, 0).numpy()))
        iou.update(torch.from_numpy(found)[None].long(), mask.as_subclass(Tensor)[None].long())
    expected = f"mean IoU of the network: {iou.compute():.4f}\nmean IoU of the file:    0."
    assert expected in capsys.readouterr().out


@pytest.mark.parametrize("layout", [SET, {"classes": SET["classes"]}])
def test_a_network_of_reduced_photographs_is_measured_as_it_was_trained(
    layout: dict[str, Any], tmp_path: Path, checkpoint: str
) -> None:
    rng = np.random.default_rng(0)
    for folder, suffix, painted in [("all", "_mask", True), ("val", "", False)]:
        for i in range(10):
            truth = rng.integers(0, 2, (64, 96), dtype=np.uint8)
            save_image(tmp_path / folder / f"{i}.png", random_image(i, 64, 96))
            annotations = folder if suffix else f"{folder}annot"
            save_image(tmp_path / annotations / f"{i}{suffix}.png", np.uint8(COLORS)[truth] if painted else truth)
    data = FolderData(str(tmp_path), max_size=48, **layout)
    expected = data.prepared(data.read("val"))
    source = config(tmp_path / "config.yaml", root=str(tmp_path), **layout) if layout is SET else tmp_path
    found = val_set(replace(load_predictor(checkpoint), max_size=48), source, void=255)
    assert len(found) == len(expected)
    assert found[0].mask.shape == (32, 48)
    for sample, other in zip(found, expected, strict=True):
        assert all(map(torch.equal, sample, other))


def measured(task: str, classes: tuple[str, ...], answers: list[Tensor], truths: list[Tensor]) -> float:
    """What is measured of answers that are there already."""
    predictor = Predictor(torch.nn.Linear(1, 1), task, classes, (), (0.5,) * 3, (0.2,) * 3)
    size, given = (answers[0].shape[2], answers[0].shape[3]), iter(answers)
    samples = [(torch.zeros(3, *size, dtype=torch.uint8), truth) for truth in truths]
    return accuracy(predictor, samples, size).of(lambda _: [next(given)])


def test_top_1_accuracy_is_the_share_of_right_answers() -> None:
    answers = [torch.eye(3)[label].view(1, 3, 1, 1) for label in (0, 2, 2, 1)]
    truths = [torch.tensor(label) for label in (0, 2, 2, 0)]
    assert measured("classification", ("wall", "crack", "root"), answers, truths) == 0.75


def test_a_class_that_occurs_nowhere_is_not_in_the_mean() -> None:
    mask = torch.tensor([[0, 1, 1], [1, 0, 0]])
    logits = one_hot(mask, 3).permute(2, 0, 1)[None].float()
    assert measured("segmentation", ("wall", "crack", "root"), [logits], [mask]) == 1


def test_ods_is_of_one_threshold_for_all_images() -> None:
    rng = torch.Generator().manual_seed(0)
    answers = [scale * torch.randn(1, 2, 24, 32, generator=rng) for scale in (1, 4)]
    truths = [torch.rand(1, 24, 32, generator=rng) < share for share in (0.02, 0.3)]
    metric = BoundaryMetric(33)
    metric.update(torch.cat(answers).softmax(1)[:, 1], truths)
    expected = metric.compute()
    assert measured("boundaries", ("background", "boundary"), answers, truths) == float(expected["ods"])
    assert expected["ods"] < expected["ois"]


def test_a_configuration_is_in_utf8_whatever_the_systems_encoding(root: Path, western_windows: None) -> None:
    names = ["Straße", "Löcher"]
    predictor = Predictor(
        dla.create_model("dla46_cida", num_classes=2), "segmentation", tuple(names), (), (0.5,) * 3, (0.2,) * 3
    )
    options = {
        "class_path": "dla.data.FolderData",
        "init_args": {**SET, "values": [*map(list, COLORS)], "root": str(root), "classes": names},
    }
    (root / "run.yaml").write_text(yaml.safe_dump({"data": options}, allow_unicode=True), encoding="utf-8")
    assert len(val_set(predictor, root / "run.yaml", void=255)) == 2


def test_void_in_the_annotations_of_a_folder_is_what_is_told(tmp_path: Path, checkpoint: str) -> None:
    save_image(tmp_path / "val" / "a.png", random_image(0, 2, 2))
    save_image(tmp_path / "valannot" / "a.png", np.array([[0, 1], [7, 7]], np.uint8))
    assert val_set(load_predictor(checkpoint), tmp_path, void=7)[0].mask.tolist() == [[0, 1], [255, 255]]


def test_a_set_that_is_in_no_folder(tmp_path: Path) -> None:
    data = DigitsData()
    classifier = Predictor(
        dla.create_model("dla46_c", num_classes=10), "classification", data.classes, (), (0.5,) * 3, (0.2,) * 3
    )
    samples = val_set(classifier, config(tmp_path / "config.yaml", "dla.data.DigitsData"), void=255)
    expected = data.read("val")
    assert len(samples) == len(expected)
    assert torch.equal(samples[7].image, expected[7].image)
    assert samples[7].label == expected[7].label


def test_a_set_of_something_else_is_told(root: Path, checkpoint: str) -> None:
    predictor = load_predictor(checkpoint)
    with pytest.raises(ValueError, match=r"digits.yaml has data for classification; expected some for segmentation"):
        val_set(predictor, config(root / "digits.yaml", "dla.data.DigitsData"), void=255)
    others = SET | {"classes": ["wall", "door"]}
    with pytest.raises(ValueError, match=r"data of the classes wall, door; expected those of the network, wall, crack"):
        val_set(predictor, config(root / "config.yaml", root=str(root), **others), void=255)
    with pytest.raises(FileNotFoundError, match=r"no folder \S+/gone/all"):
        val_set(predictor, config(root / "config.yaml", root=str(root / "gone"), **SET), void=255)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[1, 2]",
        "model: 3",
        "data: {class_path: dla.data.NoData}",
        "data: {class_path: dla.data.FolderData}",
        "{",
        "\0",
    ],
)
def test_a_file_that_is_no_configuration_is_told(content: str, tmp_path: Path, checkpoint: str, capsys) -> None:
    file, options = tmp_path / "x.yaml", ["--format", "torch-export", "--output", str(tmp_path / "x.pt2")]
    file.write_text(content)
    assert main([checkpoint, *options, "--test", str(file)]) == 2
    said = capsys.readouterr().err
    assert "x.yaml is no configuration of dla fit that names its data" in said
    assert said.count("\n") == 1
