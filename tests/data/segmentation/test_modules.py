"""Data modules: what a stage reads, what a batch holds, and the same batches through Lightning's trainer."""

import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from lightning import Trainer
from recorder import Recorder
from torch import Tensor
from torch.multiprocessing import get_sharing_strategy, set_sharing_strategy

import dla.data
from dla.data import CamVidData, CityscapesData, Scenes, ScenesData


def small_scenes(**changes: Any) -> ScenesData:
    return ScenesData(
        **{"size": 48, "train_images": 10, "val_images": 4, "batch_size": 4, "val_batch_size": 3} | changes
    )


def first(data: Any, loader: Any) -> dict[str, Tensor]:
    return data.on_after_batch_transfer(next(iter(loader)), 0)


@pytest.mark.parametrize("augment", ["sample", "batch"])
def test_training_batch(augment: Literal["sample", "batch"]) -> None:
    data = small_scenes(augment=augment, crop=40, scale=(0.5, 2.0), rotate=10.0, color=0.2)
    data.setup("fit")
    loader = data.train_dataloader()
    assert len(list(loader)) == 2  # of 10 images, 2 batches of 4
    batch = first(data, loader)
    assert set(batch) == {"image", "mask", "index", "epoch"}
    assert (batch["image"].shape, batch["image"].dtype) == ((4, 3, 40, 40), torch.float32)
    assert (batch["mask"].shape, batch["mask"].dtype) == ((4, 40, 40), torch.int64)
    assert (batch["index"].shape, batch["index"].dtype) == ((4,), torch.int64)
    assert (batch["epoch"].shape, batch["epoch"].dtype) == ((4,), torch.int64)


@pytest.mark.parametrize("augment", ["sample", "batch"])
def test_validation_images_come_whole_and_unchanged(augment: Literal["sample", "batch"]) -> None:
    data = small_scenes(augment=augment, crop=40)
    data.setup("validate")
    loader = data.val_dataloader()
    assert [len(batch["index"]) for batch in loader] == [3, 1]
    batch = first(data, loader)
    image, mask = Scenes(4, size=48, split="val")[2]
    mean, std = torch.tensor(data.mean).view(3, 1, 1), torch.tensor(data.std).view(3, 1, 1)
    torch.testing.assert_close(batch["image"][2], (image / 255 - mean) / std)
    assert torch.equal(batch["mask"][2], mask.long())


@pytest.mark.filterwarnings("ignore:.*worker processes in total")  # on a machine with one core
@pytest.mark.parametrize("augment", ["sample", "batch"])
def test_epochs_are_repeatable_and_differ(augment: Literal["sample", "batch"]) -> None:
    def epoch(number: int, **changes: Any) -> dict[str, Tensor]:
        data = small_scenes(augment=augment, crop=40, scale=(0.5, 2.0), **changes)
        data.setup("fit")
        loader = data.train_dataloader()
        loader.sampler.set_epoch(number)
        return first(data, loader)

    one = epoch(3)
    assert all(torch.equal(value, one[key]) for key, value in epoch(3, cache=False).items())
    assert all(torch.equal(value, one[key]) for key, value in epoch(3, workers=2).items())
    assert not torch.equal(epoch(4)["image"], one["image"])
    assert not torch.equal(epoch(3, seed=1)["image"], one["image"])


def test_a_stage_reads_only_what_it_needs(camvid_root: Path) -> None:
    data = CamVidData(str(camvid_root), workers=0)
    data.setup("fit")
    data.setup("validate")
    assert set(data.sets) == {"train", "val"}
    with pytest.raises(FileNotFoundError, match="the test split"):
        data.setup("test")
    validation = CamVidData(str(camvid_root), workers=0)
    validation.setup("validate")
    assert set(validation.sets) == {"val"}
    with pytest.raises(RuntimeError, match="the train split is not read yet"):
        validation.train_dataloader()


def test_test_split(camvid_root: Path) -> None:
    (camvid_root / "val").rename(camvid_root / "test")
    (camvid_root / "valannot").rename(camvid_root / "testannot")
    data = CamVidData(str(camvid_root), workers=0)
    data.setup("test")
    batch = first(data, data.test_dataloader())
    assert batch["image"].shape == (1, 3, 30, 40)
    assert batch["mask"].unique().tolist() == [*range(11), 255]


@pytest.mark.parametrize("augment", ["sample", "batch"])
def test_camvid_crops_pad_with_ignore(camvid_root: Path, augment: Literal["sample", "batch"]) -> None:
    data = CamVidData(str(camvid_root), batch_size=4, crop=64, augment=augment, cache=True, workers=0, scale=None)
    data.setup("fit")
    batch = first(data, data.train_dataloader())
    assert batch["mask"].shape == (4, 64, 64)
    outside = (batch["mask"] == 255).flatten(1).float().mean(1)
    assert (outside > 1 - 1.1 * 30 * 40 / 64**2).all()
    assert batch["image"].abs().amax(1)[batch["mask"] == 255].median() < 0.02  # the mean colour is 0


def test_cityscapes(cityscapes_root: Path) -> None:
    data = CityscapesData(str(cityscapes_root), batch_size=2, crop=16, workers=0)
    data.setup("fit")
    assert data.num_classes == 19
    assert first(data, data.train_dataloader())["image"].shape == (2, 3, 16, 16)
    assert first(data, data.val_dataloader())["image"].shape == (1, 3, 2, 17)


def test_descriptions_are_known_before_setup() -> None:
    assert (ScenesData().num_classes, CamVidData("x").num_classes) == (6, 11)
    data = CamVidData("x")
    assert len(data.classes) == len(data.colors) == 11
    assert data.mean == (0.485, 0.456, 0.406)
    assert data.std == (0.229, 0.224, 0.225)


def test_more_to_a_batch_than_there_is_is_a_clear_error() -> None:
    data = small_scenes(batch_size=16)
    data.setup("fit")
    with pytest.raises(ValueError, match="batch_size 16 exceeds the 10 training samples"):
        data.train_dataloader()
    data = small_scenes(batch_size=16, repeat=2)
    data.setup("fit")
    assert len(data.train_dataloader()) == 1


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'KittiData'"):
        dla.data.KittiData  # noqa: B018


@pytest.mark.usefixtures("unchecked_shapes")  # with which the annotation refuses it before
def test_unknown_augmentation_is_named() -> None:
    with pytest.raises(ValueError, match="augment is 'gpu'; expected 'sample' or 'batch'"):
        small_scenes(augment="gpu")


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval")
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_through_the_trainer(quiet_trainer: Callable[..., Trainer]) -> None:
    module = Recorder(6)
    trainer = quiet_trainer(max_epochs=3)
    trainer.fit(module, datamodule=small_scenes())
    epochs, indices = zip(*module.seen(), strict=True)
    assert epochs == (0,) * 8 + (1,) * 8 + (2,) * 8
    assert indices[:8] != indices[8:16]
    assert [index for batch in module.validated for index in batch["index"].tolist()] == [0, 1, 2, 3] * 3


def test_sets_do_not_import_lightning() -> None:
    code = "import sys, dla.data; assert 'lightning' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_teaches() -> None:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser()
    parser.add_class_arguments(CamVidData, "data")
    text = " ".join(parser.format_help().split())
    assert "Folder of the set." in text
    assert "Side of the square cut out of training images" in text
    parsed = parser.parse_args(["--data.root=x", "--data.scale=[0.75,1.5]", "--data.augment=batch"])
    assert parsed.data.scale == (0.75, 1.5)


@pytest.mark.data
@pytest.mark.parametrize("augment", ["sample", "batch"])
def test_real_camvid(real_camvid: Path, augment: Literal["sample", "batch"]) -> None:
    data = CamVidData(str(real_camvid), batch_size=2, crop=448, augment=augment, workers=0, color=0.2)
    data.setup("fit")
    batch = first(data, data.train_dataloader())
    assert batch["image"].shape == (2, 3, 448, 448)
    assert abs(batch["image"][(batch["mask"] != 255)[:, None].expand(-1, 3, -1, -1)].mean()) < 1
    assert first(data, data.val_dataloader())["image"].shape == (1, 3, 360, 480)


def test_a_stage_that_reads_no_split_is_named() -> None:
    with pytest.raises(ValueError, match="stage is 'predict'; expected one of fit, validate, test"):
        ScenesData().setup("predict")


def test_workers_share_what_is_cached() -> None:
    """Sent to them, each tensor would take one of the few files that a process may have open."""
    before = multiprocessing.get_start_method(allow_none=True)
    data = small_scenes(cache=True, workers=1)
    data.setup("fit")
    try:
        multiprocessing.set_start_method("spawn", force=True)
        assert data.train_dataloader().multiprocessing_context.get_start_method() == "fork"
        plain = small_scenes(cache=False, workers=1)
        plain.setup("fit")
        assert plain.train_dataloader().multiprocessing_context is None
    finally:
        multiprocessing.set_start_method(before, force=True)
    assert len(next(iter(data.train_dataloader()))["index"]) == 4


def test_workers_are_not_forked_where_tensors_are_passed_on_by_name() -> None:
    """As on macOS, where a fork is not safe, and what is cached is shared all the same."""
    data = small_scenes(cache=True, workers=1)
    data.setup("fit")
    before = get_sharing_strategy()
    try:
        set_sharing_strategy("file_system")
        assert data.train_dataloader().multiprocessing_context is None
    finally:
        set_sharing_strategy(before)
