"""Photographs are seen smaller: images and masks alike, in training and prediction alike."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from image_files import random_image, save_image
from PIL import Image

from dla.cli import main
from dla.data import FolderData, PairedFolders
from dla.data.segmentation.reduced import Reduced
from dla.export.source import metadata
from dla.hub import HubModel
from dla.images import read_image
from dla.inference import predict_classes
from dla.predict.load import load_predictor

SIZES = [(60, 90), (90, 60), (40, 30), (45, 24)]  # height and width


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split in ("train", "val"):
        for number, (height, width) in enumerate(SIZES):
            save_image(tmp_path / split / f"{number}.png", random_image(number, height, width))
            halves = np.zeros((height, width), np.uint8)
            halves[:, width // 2 :] = 1
            save_image(tmp_path / f"{split}annot" / f"{number}.png", halves)
    return tmp_path


def test_larger_images_are_reduced_with_their_masks_and_others_are_left(root: Path) -> None:
    plain = PairedFolders(root, classes=["left", "right"])
    reduced = Reduced(plain, 45)
    assert [tuple(sample.mask.shape) for sample in reduced] == [(30, 45), (45, 30), (40, 30), (45, 24)]
    for before, after in zip(plain, reduced, strict=True):
        expected = F.interpolate(before.image[None].float(), after.mask.shape, mode="bilinear", antialias=True)[0]
        torch.testing.assert_close(after.image.float(), expected, atol=1, rtol=0)  # in 8 bits
        middle = round(before.mask.shape[1] // 2 * after.mask.shape[1] / before.mask.shape[1])
        assert not after.mask[:, :middle].any()
        assert after.mask[:, middle + 1 :].all()


@pytest.mark.parametrize("cache", [False, True])
def test_the_data_module_reduces_and_names_files(root: Path, cache: bool) -> None:
    settings = {"classes": ["left", "right"], "crop": 24, "batch_size": 2, "workers": 0, "cache": cache}
    data = FolderData(str(root), max_size=45, **settings)
    data.setup()
    assert [tuple(batch["mask"].shape[1:]) for batch in data.val_dataloader()] == [
        (30, 45),
        (45, 30),
        (40, 30),
        (45, 24),
    ]
    if cache:
        with pytest.raises(ValueError, match=r"of different sizes, 45x30 and 30x45 \(\S+val/1.png\), and cannot"):
            FolderData(str(root), max_size=45, val_batch_size=2, **settings).setup()


def test_a_size_below_one_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match="max_size is 0; expected a number of pixels of at least 1, or null"):
        FolderData(str(root), classes=["left", "right"], max_size=0)


def fit(root: Path, *options: str, word: str = "fit") -> int:
    data = ["FolderData", "classes=[left,right]", "crop=24", "batch_size=2", "workers=0", f"root={root}"]
    model = ["--model=SegmentationTask", "--model.network=dla46_cida"]
    trainer = [f"--trainer.default_root_dir={root / 'run'}", "--trainer.accelerator=cpu"]
    return main([word, *model, f"--data={data[0]}", *(f"--data.{part}" for part in data[1:]), *trainer, *options])


def test_predictions_are_of_the_reduced_picture_at_its_own_size(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(root, "--data.max_size=45", "--trainer.max_epochs=1", "--trainer.limit_train_batches=1") == 0
    best = str(root / "run" / "checkpoints" / "best.ckpt")
    hub = tmp_path / "hub"
    HubModel.from_run(best).save_pretrained(hub)
    for model in (best, str(hub)):
        predictor = load_predictor(model)
        for number, factor in enumerate([0.5, 0.5, 1.0, 1.0]):
            path = root / "val" / f"{number}.png"
            expected = predict_classes(predictor.model, predictor.inputs(read_image(path)), scales=[factor])[0]
            assert np.array_equal(predictor.segment(read_image(path)), expected)
            assert main(["predict", str(path), "--model", model, "--output", str(tmp_path / "out")]) == 0
            with Image.open(tmp_path / "out" / f"{number}.png") as mask:
                assert np.array_equal(np.asarray(mask), expected)
        twice = predict_classes(predictor.model, predictor.inputs(read_image(root / "val/0.png")), scales=[0.25, 0.5])[
            0
        ]
        assert np.array_equal(predictor.segment(read_image(root / "val/0.png"), scales=[0.5, 1]), twice)
    assert metadata("best", predictor, (32, 32))["dla.max_size"] == "45"
    capsys.readouterr()
    assert fit(root, f"--ckpt_path={best}", "--data.max_size=45", word="validate") == 0
    assert fit(root, f"--ckpt_path={best}", word="validate") == 1
    said = "the checkpoint's images have the max_size 45, and the data's None: give --data.max_size as its run had"
    assert said in capsys.readouterr().err
