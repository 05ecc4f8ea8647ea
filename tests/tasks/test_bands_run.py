"""Networks on images of bands, from training to predictions and files of other runtimes."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from band_files import RANGES, noisy_bands, save_bands, save_set
from fit_command import fit_with
from image_files import random_image, save_image
from outline_files import HEIGHT, WIDTH, box, save_outlines
from PIL import Image
from run_files import last, logged

import dla
from dla.cli import main
from dla.data import CocoData, FolderData, ImageFolderData
from dla.data.batch_augment import BatchAugment
from dla.data.boundaries.modules import BoundaryFolderData
from dla.data.sampling import Draw
from dla.export.source import load_source
from dla.hub import HubModel
from dla.predict import Predictor, load_predictor

BANDS = tuple((float(low), float(high)) for low, high in RANGES)
RUN = {
    "--seed_everything": "0",
    "--trainer.accelerator": "cpu",
    "--model": "dla.tasks.SegmentationTask",
    "--model.network": "dla46_cida",
    "--model.options.in_chans": "4",
    "--model.optimizer": "adamw",
    "--model.lr": "0.003",
    "--data": "dla.data.FolderData",
    "--data.classes": "[soil, water]",
    "--data.bands": str(RANGES),
    "--data.crop": "48",
    "--data.batch_size": "8",
    "--data.color": "0.2",
    "--data.workers": "0",
    "--trainer.max_epochs": "12",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_set(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="module")
def run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that learned what the last band tells."""
    folder = tmp_path_factory.mktemp("run")
    assert fit_with(RUN, folder, **{"--data.root": str(root)}) == 0
    return folder


def test_what_one_band_tells_is_learned_and_predicted(run: Path, root: Path, tmp_path: Path) -> None:
    assert max(logged(run, "val/miou")) > 0.85
    best = f"{run}/checkpoints/best.ckpt"
    assert main(["predict", str(root / "val"), "--model", best, "--output", str(tmp_path), "--device", "cpu"]) == 0
    same = []
    for truth in sorted((root / "valannot").iterdir()):
        with Image.open(truth) as drawn, Image.open(tmp_path / truth.name) as found:
            same.append((np.asarray(drawn) == np.asarray(found)).mean())
        with Image.open(tmp_path / f"{truth.stem}_overlay.jpg") as overlay:
            assert overlay.height >= 56
    assert np.mean(same) > 0.92
    for name in ("examples.png", "training.png"):
        with Image.open(run / name) as picture:
            assert picture.mode == "RGB"


def test_a_checkpoint_says_which_bands_it_saw(run: Path) -> None:
    facts = last(run)["dla"]
    assert facts["bands"] == [list(pair) for pair in BANDS]
    assert facts["options"] == {"in_chans": 4}
    assert (facts["mean"], facts["std"]) == ([0.5] * 4, [0.25] * 4)
    predictor = load_predictor(run / "checkpoints" / "best.ckpt")
    assert predictor.bands == BANDS


def test_prediction_sees_what_training_sees(run: Path, root: Path) -> None:
    data = FolderData(str(root), classes=["soil", "water"], bands=RANGES)
    data.setup("validate")
    (batch, *_) = data.val_dataloader()
    predictor = load_predictor(run / "checkpoints" / "best.ckpt")
    inputs = predictor.inputs(predictor.read(root / "val" / "00.tif"))
    torch.testing.assert_close(inputs, data.on_after_batch_transfer(batch, 0)["image"])
    assert inputs.shape == (1, 4, 56, 64)


def test_it_goes_on_and_is_measured(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = f"--config={run}/config.yaml"
    assert main(["validate", config, "--ckpt_path=best"]) == 0
    assert f"{100 * max(logged(run, 'val/miou')):.2f}" in capsys.readouterr().out
    changed = str([*RANGES[:3], [-400, 500]])
    assert main(["validate", config, "--ckpt_path=best", f"--data.bands={changed}"]) == 1
    err = capsys.readouterr().err
    assert "the checkpoint's images have the bands [[0.0, 4000.0]" in err
    assert "give --data.bands as its run had" in err


def test_the_network_must_take_as_many(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {**RUN, "--data.root": str(root), "--trainer.max_epochs": "1"}
    assert fit_with({**options, "--model.options.in_chans": "3"}, tmp_path) == 1
    expected = "FolderData gives images of 4 channels, and the network takes 3: give --model.options.in_chans 4\n"
    assert expected in capsys.readouterr().err


def test_a_network_of_bands_asks_for_them(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {key: value for key, value in RUN.items() if key != "--data.bands"}
    assert fit_with({**options, "--data.root": str(root)}, tmp_path) == 1
    expected = (
        "images of 3 channels, and the network takes 4: give --model.options.in_chans 3, or, where images are not"
    )
    assert f"{expected} in colour, --data.bands" in capsys.readouterr().err


def test_several_stems_for_the_bands_of_one_image(root: Path, tmp_path: Path) -> None:
    options = {**RUN, "--data.root": str(root), "--trainer.max_epochs": "1", "--model.options.in_chans": "[3, 1]"}
    assert fit_with(options, tmp_path) == 0
    assert last(tmp_path)["dla"]["options"] == {"in_chans": [3, 1]}


def test_weights_of_colour_images_start_it_and_leave_the_normalisation(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {**RUN, "--data.root": str(root), "--trainer.max_epochs": "1", "--model.network": "dla46_cup.camvid"}
    assert fit_with(options, tmp_path, **{"--data.augment": "batch", "--data.cache": "true"}) == 0
    out = capsys.readouterr().out
    assert "starts from the weights that dla46_cup.camvid names" in out
    assert "normalised as these weights expect" not in out
    assert last(tmp_path)["dla"]["mean"] == [0.5] * 4


@pytest.mark.parametrize("format", ["onnx", "openvino"])
@pytest.mark.parametrize("int8", [False, True])
def test_files_of_other_runtimes_are_measured_on_bands(
    format: str, int8: bool, run: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / {"onnx": "a.onnx", "openvino": "a.xml"}[format]
    words = [
        "export",
        f"{run}/checkpoints/best.ckpt",
        "--format",
        format,
        "--output",
        str(target),
        "--size",
        "56",
        "64",
    ]
    words += ["--test", str(root if int8 else run / "config.yaml")]
    assert main([*words, *(["--int8", "--calibration", str(root / "train")] if int8 else [])]) == 0
    out = capsys.readouterr().out
    network, file = (float(line.split()[-1]) for line in out.splitlines() if "mean IoU of" in line)
    assert network == pytest.approx(max(logged(run, "val/miou")), abs=2e-3)
    assert file == pytest.approx(network, abs=0.05 if int8 else 1e-3)
    if format == "onnx":
        said = {entry.key: entry.value for entry in onnx.load(target).metadata_props}
        assert said["dla.bands"] == str([list(pair) for pair in BANDS])


def test_an_export_refuses_what_does_not_go_with_bands(
    run: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", f"{run}/checkpoints/best.ckpt", "--format", "onnx", "--output", str(tmp_path / "a.onnx")]
    assert main([*words, "--mean", "0", "0", "0"]) == 2
    assert "says how its 4 bands are normalised: leave out --mean and --std" in capsys.readouterr().err
    text = (run / "config.yaml").read_text()
    (tmp_path / "other.yaml").write_text(text.replace("- 4000.0", "- 5000.0"))
    assert main([*words, "--test", str(tmp_path / "other.yaml")]) == 2
    assert "other.yaml has images of the bands ((0.0, 5000.0)" in capsys.readouterr().err


def test_pictures_are_skipped_with_the_reason(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_image(tmp_path / "a.png", random_image(0))
    words = ["--model", f"{run}/checkpoints/best.ckpt", "--output", str(tmp_path / "out"), "--device", "cpu"]
    assert main(["predict", str(tmp_path / "a.png"), *words]) == 1
    assert "a.png has 3 bands, and bands has ranges for 4" in capsys.readouterr().err
    predictor = load_predictor(run / "checkpoints" / "best.ckpt")
    with pytest.raises(ValueError, match="this network takes the bands of an image, by `read`, not a Image"):
        predictor.segment(Image.new("RGB", (64, 64)))
    with pytest.raises(ValueError, match="this network takes an RGB picture of Pillow's, not a Tensor"):
        load_predictor("dla46_cup.camvid").segment(torch.zeros(3, 64, 64))


def test_the_hub_keeps_the_bands(run: Path, root: Path, tmp_path: Path) -> None:
    HubModel.from_run(run / "checkpoints" / "best.ckpt").save_pretrained(tmp_path)
    saved, trained = load_predictor(tmp_path), load_predictor(run / "checkpoints" / "best.ckpt")
    assert saved.bands == load_source(str(tmp_path)).bands == BANDS
    image = saved.read(root / "val" / "01.tif")
    assert np.array_equal(saved.segment(image), trained.segment(image))


def test_outlines_over_bands(tmp_path: Path) -> None:
    drawn = [{"category_id": 1, "segmentation": [box(3, 4, 20, 9)]}]
    save_outlines(tmp_path / "train.json", [("a.tif", drawn)], folder=tmp_path / "images")
    stored = noisy_bands(np.zeros((HEIGHT, WIDTH), bool), 0)
    save_bands(tmp_path / "images" / "a.tif", stored)
    data = CocoData(str(tmp_path), images="images", annotations="{split}.json", bands=RANGES)
    image, mask = data.read("train")[0]
    assert image.shape == (4, HEIGHT, WIDTH)
    assert mask[4:9, 3:20].eq(1).all()
    for band, values, (low, high) in zip(image, stored, BANDS, strict=True):
        expected = ((values - low) / (high - low) * 255).clip(0, 255)
        assert np.allclose(band, expected, atol=1e-3)


def test_boundaries_in_bands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, run = tmp_path / "set", tmp_path / "run"
    save_set(root, train=8, val=2, images="images/{}", truths="groundTruth/{}")
    changes = {"--model": "dla.tasks.BoundaryTask", "--data": "dla.data.BoundaryFolderData", "--data.root": str(root)}
    options = {**RUN, **changes, "--trainer.max_epochs": "1"}
    del options["--data.classes"]
    assert fit_with(options, run) == 0
    best = f"{run}/checkpoints/best.ckpt"
    words = ["--model", best, "--output", str(tmp_path / "out"), "--device", "cpu"]
    assert main(["predict", str(root / "images" / "val"), *words]) == 0
    assert (tmp_path / "out" / "00_thin.png").exists()
    words = ["--format", "onnx", "--output", str(tmp_path / "a.onnx"), "--size", "56", "64", "--test", str(root)]
    assert main(["export", best, *words]) == 0
    assert "ODS of the file" in capsys.readouterr().out


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, which the last band tells."""
    root = tmp_path_factory.mktemp("kinds")
    for split, count in (("train", 24), ("val", 8)):
        for i in range(count):
            mask = np.full((40, 44), i % 2, bool)
            save_bands(root / split / ("soil", "water")[i % 2] / f"{i}.tif", noisy_bands(mask, 100 * count + i))
    return root


def test_classes_told_by_one_band(kinds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = {
        "--model": "dla.tasks.ClassificationTask",
        "--model.network": "dla46_c",
        "--data": "dla.data.ImageFolderData",
        "--data.root": str(kinds),
        "--data.crop": "32",
        "--data.resize": "36",
        "--data.ten_crop": "true",
        "--trainer.max_epochs": "6",
    }
    options = {key: value for key, value in (RUN | changes).items() if key not in ("--data.classes", "--data.color")}
    assert fit_with(options, tmp_path / "run") == 0
    assert max(logged(tmp_path / "run", "val/accuracy")) == 1
    best = f"{tmp_path}/run/checkpoints/best.ckpt"
    capsys.readouterr()
    words = ["--model", best, "--output", str(tmp_path / "out"), "--device", "cpu"]
    assert main(["predict", str(kinds / "val" / "water"), *words]) == 0
    assert capsys.readouterr().out.count(": water ") == 4
    for test in (str(kinds), f"{tmp_path}/run/config.yaml"):
        words = [
            "--format",
            "onnx",
            "--output",
            str(tmp_path / "a.onnx"),
            "--int8",
            "--calibration",
            str(kinds / "train"),
        ]
        assert main(["export", best, *words, "--test", test]) == 0
        assert "top-1 accuracy of the file:    1.0000" in capsys.readouterr().out
    assert main(["validate", f"--config={tmp_path}/run/config.yaml", "--ckpt_path=best"]) == 0
    with Image.open(tmp_path / "run" / "val_worst.png") as worst:
        assert worst.mode == "RGB"


def test_a_classifier_predicts_what_it_was_measured_on(kinds: Path) -> None:
    data = ImageFolderData(str(kinds), bands=RANGES, crop=32, resize=36)
    data.setup("validate")
    item = data.whole("val")[Draw(0, 5)]
    batch = data.on_after_batch_transfer(data.collate([item]), 0)
    network = dla.create_model("dla46_c", num_classes=2, in_chans=4)
    predictor = Predictor(network, "classification", data.classes, (), data.mean, data.std, 36, 32, BANDS)
    image = predictor.read(data.sets["val"].files[5][0])
    torch.testing.assert_close(predictor.inputs(predictor.framed(image)), batch["image"])


@pytest.mark.parametrize("option", [{"color": 0.1}, {"jitter": 0.1}, {"lighting": 0.1}, {"policy": "randaugment"}])
def test_changes_of_colour_are_refused_for_bands(option: dict[str, Any], kinds: Path) -> None:
    with pytest.raises(
        ValueError, match="color, jitter, lighting and policy are for red, green and blue: leave them out"
    ):
        ImageFolderData(str(kinds), bands=RANGES, **option)


@pytest.mark.parametrize("kind", [FolderData, BoundaryFolderData])
@pytest.mark.parametrize("augment", ["sample", "batch"])
def test_both_ways_to_augment_keep_fractions(kind: type, augment: str, tmp_path: Path) -> None:
    layout = {"images": "images/{}", "truths": "groundTruth/{}"} if kind is BoundaryFolderData else {}
    save_set(tmp_path, **layout)
    named = {"classes": ["soil", "water"]} if kind is FolderData else {}
    options = {"scale": None, "rotate": 0.0, "crop": 40, "batch_size": 4, "workers": 0, "augment": augment}
    data = kind(str(tmp_path), bands=RANGES, **named, **options)
    data.setup("fit")
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    levels = (batch["image"] * 0.25 + 0.5) * 255
    assert batch["image"].shape == (4, 4, 40, 40)
    assert (levels - levels.round()).abs().mean() > 0.2
    assert levels.min() >= -1e-3
    assert levels.max() <= 255.001


def test_bands_are_moved_as_colours_are() -> None:
    """Six bands are cut, turned and mirrored as twice three; what lies outside is 0 once normalised."""
    bands = torch.rand(2, 6, 50, 60) * 255
    masks = torch.randint(0, 3, (2, 50, 60), dtype=torch.uint8)
    augment = BatchAugment(crop=64, scale=(0.6, 1.6), rotate=30)
    drawn = torch.stack([augment.draw(seed) for seed in (3, 8)])
    moved, mask = augment(bands, masks, drawn)
    parts, same = zip(*(augment(part, masks, drawn) for part in (bands[:, :3], bands[:, 3:])), strict=True)
    assert torch.equal(mask, same[0])
    inside = augment(torch.ones(2, 6, 50, 60) * 255, masks, drawn)[0] == 255
    torch.testing.assert_close(moved[inside], torch.cat(parts, 1)[inside])
    outside = augment(torch.zeros(2, 6, 50, 60), masks, drawn)[0] == 127.5
    assert outside.any()
    assert (mask[outside[:, 0]] == 255).all()


def test_colours_of_bands_vary_alike() -> None:
    """Brightness scales all bands, contrast keeps the mean of them all, saturation that of each pixel."""
    bands, masks = torch.rand(1, 5, 32, 32) * 100 + 50, torch.zeros(1, 32, 32, dtype=torch.uint8)
    augment = BatchAugment(crop=32, scale=None, rotate=0, color=0.2)
    still = torch.tensor([[1.0, 0.0, 1.0, 0.5, 0.5, 1.0, 1.0, 1.0]])

    def with_factor(column: int, factor: float) -> torch.Tensor:
        row = still.clone()
        row[0, column] = factor
        return augment(bands, masks, row)[0]

    torch.testing.assert_close(with_factor(5, 1.2), bands * 1.2)
    contrast, saturation = with_factor(6, 0.8), with_factor(7, 0.8)
    torch.testing.assert_close(contrast, bands.mean() + 0.8 * (bands - bands.mean()))
    torch.testing.assert_close(saturation, bands.mean(1, keepdim=True) + 0.8 * (bands - bands.mean(1, keepdim=True)))
