"""How well each image was segmented: what is written of it, the worst first."""

import csv

import numpy as np
import pytest
import torch
from fit_command import fit_with
from image_files import random_image, save_image
from lightning import LightningDataModule, Trainer
from PIL import Image
from torch.utils.data import DataLoader

from dla.cli import main
from dla.tasks import SegmentationTask

SHADES = (40, 210)


@pytest.fixture
def root(tmp_path):
    """Images whose shade tells the class, but for a validation image with a wrong annotation."""
    for split, count in (("train", 16), ("val", 5)):
        for number in range(count):
            mask = np.zeros((40, 48), np.uint8)
            mask[:, 8 + 2 * number :] = 1
            image = np.array(SHADES, np.uint8)[mask][..., None].repeat(3, -1) + random_image(number, 40, 48) // 16
            save_image(tmp_path / split / f"{number}.png", image)
            save_image(
                tmp_path / f"{split}annot" / f"{number}.png", 1 - mask if (split, number) == ("val", 2) else mask
            )
    return tmp_path


RUN = {
    "--model": "SegmentationTask",
    "--model.network": "dla46_cup.camvid",
    "--model.lr": "0.002",
    "--model.optimizer": "adamw",
    "--data": "FolderData",
    "--data.classes": "[dark, light]",
    "--data.crop": "32",
    "--data.batch_size": "4",
    "--data.scale": "null",
    "--data.rotate": "0",
    "--data.workers": "0",
    "--trainer.accelerator": "cpu",
    "--trainer.enable_progress_bar": "false",
}


def test_a_wrong_annotation_stands_first(root, tmp_path):
    run = tmp_path / "run"
    assert fit_with(RUN, run, **{"--data.root": str(root), "--trainer.max_epochs": "6"}) == 0
    lines = [*csv.reader((run / "val_images.csv").read_text(encoding="utf-8").splitlines())]
    assert lines[0] == ["image", "mean IoU", "pixel accuracy"]
    assert lines[1][0] == str(root / "val" / "2.png")
    assert float(lines[1][1]) < 0.3
    assert all(float(iou) > 0.7 for _, iou, _ in lines[2:])
    assert sorted(name for name, *_ in lines[1:]) == [str(root / "val" / f"{number}.png") for number in range(5)]
    with Image.open(run / "val_worst.png") as drawn, Image.open(run / "examples.png") as examples:
        assert drawn.size[0] == examples.size[0]
        assert drawn.size[1] > examples.size[1]  # five images, not four
    words = ["--config", f"{run}/config.yaml", "--ckpt_path", f"{run}/checkpoints/last.ckpt"]
    again = tmp_path / "again"
    assert main(["validate", *words, f"--trainer.default_root_dir={again}"]) == 0
    assert (again / "val_images.csv").read_bytes() == (run / "val_images.csv").read_bytes()
    assert (again / "val_worst.png").read_bytes() == (run / "val_worst.png").read_bytes()


class Somebodys(LightningDataModule):
    """Loaders of batches that have what the task needs, and nothing by which an image could be looked up."""

    classes = ("dark", "light")
    mean = std = (0.5, 0.5, 0.5)

    def __init__(self, *extra: str) -> None:
        super().__init__()
        parts = {"image": torch.randn(2, 3, 32, 32), "mask": torch.randint(0, 2, (2, 32, 32))}
        self.batch = parts | {name: torch.arange(2) for name in extra}

    def train_dataloader(self) -> DataLoader:
        return DataLoader([self.batch], batch_size=None)

    val_dataloader = train_dataloader


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval")
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
@pytest.mark.parametrize("extra", [(), ("index",)])
def test_data_of_somebody_else_is_measured_and_not_drawn(tmp_path, extra, capsys):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = Trainer(default_root_dir=tmp_path, max_epochs=1, enable_model_summary=False, **quiet)
    trainer.fit(SegmentationTask(network="dla46_cida", num_classes=2), datamodule=Somebodys(*extra))
    assert "mean IoU" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
