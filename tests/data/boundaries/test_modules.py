"""Data modules of boundaries: masks of 0, 1 and 255, all truths in validation, and the same batches again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from image_files import save_truths
from lightning import Trainer
from PIL import Image
from recorder import Recorder
from torch import Tensor

from dla.data import BoundaryFolderData, BoundaryScenes, BoundaryScenesData, BSDSData, Scenes

Where = Literal["sample", "batch"]


def bsds(root: Path, **changes: Any) -> BSDSData:
    return BSDSData(str(root), **{"batch_size": 4, "crop": 36, "workers": 0} | changes)


def epoch(data: Any, number: int = 0) -> list[dict[str, Tensor]]:
    data.setup("fit")
    loader = data.train_dataloader()
    loader.sampler.set_epoch(number)
    return [data.on_after_batch_transfer(batch, 0) for batch in loader]


def validation(data: Any) -> list[dict[str, Any]]:
    data.setup("validate")
    return [data.on_after_batch_transfer(batch, 0) for batch in data.val_dataloader()]


def test_the_options_reach_the_augmentation(bsds_root: Path) -> None:
    options = {"crop": 36, "scale": (0.7, 1.4), "rotate": 30.0, "flip": False, "color": 0.2}
    augment: Any = bsds(bsds_root, augment="batch", **options).batch_augment
    assert {name: getattr(augment, name) for name in options} == options


@pytest.mark.parametrize("augment", ["sample", "batch"])
def test_training_batches_hold_portraits_and_landscapes(bsds_root: Path, augment: Where) -> None:
    (batch,) = epoch(bsds(bsds_root, augment=augment, batch_size=6))
    assert set(batch) == {"image", "mask", "index", "epoch"}
    assert (batch["image"].shape, batch["image"].dtype) == ((6, 3, 36, 36), torch.float32)
    assert (batch["mask"].shape, batch["mask"].dtype) == ((6, 36, 36), torch.int64)
    assert sorted(batch["index"].tolist()) == list(range(6))
    assert batch["mask"].unique().tolist() == [0, 1, 255]


@pytest.mark.parametrize("augment", ["sample", "batch"])
@pytest.mark.parametrize(("merge", "values"), [("any", [0, 1]), ("sample", [0, 1]), ("vote", [0, 1, 255])])
def test_every_pixel_of_a_crop_counts_unless_few_voted(
    bsds_root: Path, merge: Literal["any", "vote", "sample"], values: list[int], augment: Where
) -> None:
    """What lies outside is mirrored, though the crop is larger than the image."""
    (batch,) = epoch(bsds(bsds_root, merge=merge, crop=60, augment=augment))
    assert batch["mask"].unique().tolist() == values
    assert batch["image"].flatten(2).std(2).min() > 0.1


@pytest.mark.parametrize("merge", ["any", "vote", "sample"])
def test_validation_images_come_whole_with_all_truths(bsds_root: Path, merge: Literal["any", "vote", "sample"]) -> None:
    data = bsds(bsds_root, merge=merge)
    batches = validation(data)
    assert [batch["image"].shape for batch in batches] == [(1, 3, 30, 40), (1, 3, 30, 40), (1, 3, 40, 30)]
    assert [len(batch["truths"][0]) for batch in batches] == [2, 3, 4]
    for batch in batches:
        (truths,) = batch["truths"]
        assert (truths.dtype, truths.shape[1:]) == (torch.bool, batch["mask"].shape[1:])
        share = truths.float().mean(0)
        expected = (share > 0).long()
        if merge != "any":  # an annotator drawn anew would make epochs incomparable
            expected[(share > 0) & (share <= 0.3)] = 255
        assert torch.equal(batch["mask"][0], expected)


def test_the_threshold_reaches_the_masks(bsds_root: Path) -> None:
    counts = [(validation(bsds(bsds_root, threshold=share))[2]["mask"] == 255).sum() for share in (0.0, 0.3, 0.6)]
    assert counts[0] == 0
    assert counts[0] < counts[1] < counts[2]


@pytest.mark.filterwarnings("ignore:.*worker processes in total")  # on a machine with one core
@pytest.mark.parametrize("augment", ["sample", "batch"])
@pytest.mark.parametrize("merge", ["vote", "sample"])
def test_epochs_are_repeatable_and_differ(bsds_root: Path, merge: Literal["vote", "sample"], augment: Where) -> None:
    def first(number: int, **changes: Any) -> dict[str, Tensor]:
        return epoch(bsds(bsds_root, merge=merge, augment=augment, **changes), number)[0]

    one = first(3)
    torch.manual_seed(9)
    for other in (first(3), first(3, cache=True), first(3, workers=2)):
        assert all(torch.equal(value, one[key]) for key, value in other.items())
    assert not torch.equal(first(4)["mask"], one["mask"])
    assert not torch.equal(first(3, seed=1)["mask"], one["mask"])


def test_unequal_sizes_beyond_orientation_name_the_remedy(bsds_root: Path) -> None:
    Image.new("RGB", (44, 30)).save(bsds_root / "data" / "images" / "train" / "1001.jpg")
    save_truths(bsds_root / "data" / "groundTruth" / "train" / "1001.mat", np.zeros((1, 30, 44)))
    with pytest.raises(ValueError, match=r"unequal sizes .*1: 44x30.*augment sample for training"):
        epoch(bsds(bsds_root, augment="batch", batch_size=6))
    with pytest.raises(ValueError, match=r"images of train .*different sizes.*1001\.jpg"):
        epoch(bsds(bsds_root, augment="batch", batch_size=6, cache=True))
    assert len(epoch(bsds(bsds_root, augment="sample", batch_size=6))) == 1


def test_folders_and_lists_follow_the_split(own_boundaries: Path) -> None:
    (own_boundaries / "train.txt").write_text("0\n1\n2\n")
    (own_boundaries / "val.txt").write_text("3\n")
    data = BoundaryFolderData(
        str(own_boundaries),
        images="images",
        truths="truths",
        names="{split}.txt",
        batch_size=3,
        crop=16,
        workers=0,
        augment="batch",
    )
    assert epoch(data)[0]["image"].shape == (3, 3, 16, 16)
    assert [len(batch["truths"][0]) for batch in validation(data)] == [5]
    with pytest.raises(FileNotFoundError, match=r"there is no list .*test.txt"):
        data.setup("test")


def test_folders_lie_as_in_bsds_unless_told_otherwise(bsds_root: Path) -> None:
    data = BoundaryFolderData(str(bsds_root / "data"), batch_size=6, crop=16, workers=0)
    assert torch.equal(epoch(data)[0]["mask"], epoch(bsds(bsds_root, crop=16, batch_size=6))[0]["mask"])


def test_scenes_carry_their_boundary() -> None:
    scene, (image, truths) = Scenes(3, size=48).scene(1), BoundaryScenes(3, size=48)[1]
    assert torch.equal(image, scene.image)
    assert torch.equal(truths, scene.boundary[None])
    data = BoundaryScenesData(size=48, train_images=8, val_images=3, batch_size=8, val_batch_size=3)
    (batch,) = epoch(data)
    assert batch["mask"].shape == (8, 48, 48)
    assert batch["mask"].unique().tolist() == [0, 1]
    (batch,) = validation(data)
    val = BoundaryScenes(3, size=48, split="val")
    assert all(torch.equal(batch["truths"][index], val[index].truths) for index in range(3))


def test_descriptions_are_known_before_setup() -> None:
    data = BSDSData("x")
    assert data.classes == ("background", "boundary")
    assert data.num_classes == len(data.colors) == 2
    assert data.mean == (0.485, 0.456, 0.406)


def test_its_help_teaches_all_settings(capsys: pytest.CaptureFixture[str]) -> None:
    from dla.cli import main

    for name, own in (("BSDSData", "root"), ("BoundaryFolderData", "names"), ("BoundaryScenesData", "train_images")):
        with pytest.raises(SystemExit):
            main(["fit", f"--data.help={name}"])  # as `dla fit --data.help BSDSData`
        text = capsys.readouterr().out
        for option in (own, "merge", "threshold", "crop", "rotate", "augment", "cache", "seed", "repeat"):
            assert f"--data.{option}" in text


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval")
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
@pytest.mark.filterwarnings("ignore:Checkpoint directory")
@pytest.mark.parametrize("augment", ["sample", "batch"])
def test_a_resumed_run_sees_the_same(
    bsds_root: Path, quiet_trainer: Callable[..., Trainer], tmp_path: Path, augment: Where
) -> None:
    def run(epochs: int, checkpoint: Path | None = None) -> Recorder:
        module = Recorder(2)
        trainer = quiet_trainer(max_epochs=epochs)
        data = bsds(bsds_root, merge="sample", augment=augment, batch_size=2)
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True if checkpoint else None)
        trainer.save_checkpoint(tmp_path / f"{epochs}.ckpt")
        return module

    whole, first = run(3), run(1)
    rest = run(3, tmp_path / "1.ckpt")
    assert [len(truths) for batch in whole.validated for truths in batch["truths"]] == [2, 3, 4] * 3
    assert len(whole.shown) == len(first.shown) + len(rest.shown) == 9
    for one, other in zip(whole.shown, first.shown + rest.shown, strict=True):
        assert torch.equal(one["image"], other["image"])
        assert torch.equal(one["mask"], other["mask"])


@pytest.mark.data
@pytest.mark.parametrize("augment", ["sample", "batch"])
def test_real_bsds(real_bsds: Path, augment: Where) -> None:
    data = BSDSData(str(real_bsds), batch_size=4, augment=augment, workers=0)
    data.setup("fit")
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    assert batch["image"].shape == (4, 3, 416, 416)
    assert abs(batch["image"].mean()) < 1
    share = [(batch["mask"] == value).float().mean() for value in (0, 1, 255)]
    assert share[0] > 0.8
    assert 0.005 < share[1] < 0.1
    assert 0.005 < share[2] < 0.15
    batch = data.on_after_batch_transfer(next(iter(data.val_dataloader())), 0)
    assert sorted(batch["image"].shape) == [1, 3, 321, 481]
    assert batch["truths"][0].shape[0] >= 4


@pytest.mark.parametrize("names", [None, "train.txt"])
def test_val_is_not_silently_the_training_images(tmp_path: Path, names: str | None) -> None:
    data = BoundaryFolderData(str(tmp_path), images="images", truths="truths", names=names)
    with pytest.raises(ValueError, match=r"train and val would be the same images; put {split} into one"):
        data.setup("fit")
