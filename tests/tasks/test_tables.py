"""Tables of what was measured show names as they are; rich takes words in brackets for colours."""

import io
from types import SimpleNamespace

import torch
from lightning import Trainer
from rich.console import Console

from dla.tasks.class_showcase import ClassShowcase
from dla.tasks.segmentation_showcase import SegmentationShowcase
from dla.tasks.showcase import listed

QUIET = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_model_summary": False}
NAMES = ("wall [red]", "[/] crack")


def printed(table) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(table)
    return console.file.getvalue()


def test_of_segmentation():
    ious = {f"iou/{name}": 0.5 for name in NAMES}
    table = SegmentationShowcase().table(Trainer(**QUIET), {**ious, "miou": 0.5, "accuracy": 0.5}, "val")
    assert all(name in printed(table) for name in NAMES)


def test_of_classification():
    measured = SimpleNamespace(confusion=torch.tensor([[3, 1], [0, 2]]))
    module = SimpleNamespace(measured=measured)
    trainer = Trainer(**QUIET)
    trainer.strategy._lightning_module = module
    trainer.datamodule = SimpleNamespace(classes=NAMES)
    values = {"accuracy": 0.5, "top5": 1.0, "class_accuracy": 0.5}
    text = printed(ClassShowcase().table(trainer, values, "val"))
    assert "wall [red], 4 images" in text
    assert "[/] crack, 2 images" in text


def test_classes_are_named_before_training_the_first_of_many():
    assert listed(["wall", "crack"]) == "2 classes: wall, crack"
    assert listed("abcdefghijkl").endswith("j, k, l")
    assert listed([*"abcdefghijklmn"]) == "14 classes: a, b, c, d, e, f, g, h, i, j, k, l and 2 others"
