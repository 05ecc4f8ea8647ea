"""Annotators: how their truths become one mask, and what a draw of an annotated image holds."""

from typing import ClassVar, Literal

import pytest
import torch
from torch import Tensor

from dla.data import BatchAugment, Cached, Draw
from dla.data.boundaries.annotators import CLASSES, COLORS, Annotated, Merger, SeededTruths, collate_truths
from dla.images import RGB

# Ten annotators; in row k, the first k of them see a boundary.
LADDER = (torch.arange(10)[:, None] < torch.arange(11))[:, :, None]


def rows(how: Literal["any", "vote", "sample"], threshold: float = 0.3, seed: int = 0) -> list[int]:
    return Merger(how, threshold)(LADDER, seed)[:, 0].tolist()


def test_any_takes_a_single_voice() -> None:
    assert rows("any") == [0] + 10 * [1]


@pytest.mark.parametrize(("threshold", "ignored"), [(0.3, 3), (0.29, 2), (0.0, 0), (0.95, 9)])
def test_vote_leaves_out_what_few_see(threshold: float, ignored: int) -> None:
    """A share up to the threshold is undecided, one above it is a boundary."""
    assert rows("vote", threshold) == [0] + ignored * [255] + (10 - ignored) * [1]


def test_sample_takes_each_annotator_as_often() -> None:
    assert {tuple(rows("sample", seed=seed)) for seed in range(10)} == {
        tuple(LADDER[annotator, :, 0].long().tolist()) for annotator in range(10)
    }
    assert rows("sample", seed=2**64 - 1) == rows("sample", seed=(2**64 - 1) % 10)


def test_one_annotator_is_merged_to_what_was_drawn() -> None:
    truths = torch.rand(1, 9, 7) < 0.3
    for how in ("any", "vote", "sample"):
        assert torch.equal(Merger(how)(truths, 5), truths[0].to(torch.uint8))


@pytest.mark.usefixtures("unchecked_shapes")  # with which the annotation refuses it before
def test_senseless_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="merge is 'mean'; expected one of any, vote, sample"):
        Merger("mean")  # type: ignore[arg-type]
    for threshold in (1.0, -0.1):
        with pytest.raises(ValueError, match=f"threshold is {threshold}; expected a share"):
            Merger("vote", threshold)


class Drawn:
    """Three images of 20x12, the second one on its side, with one to three annotators."""

    classes: ClassVar[tuple[str, ...]] = CLASSES
    colors: ClassVar[tuple[RGB, ...]] = COLORS

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Annotated:
        generator = torch.Generator().manual_seed(index)
        size = (20, 12) if index == 1 else (12, 20)
        image = torch.randint(256, (3, *size), generator=generator, dtype=torch.uint8)
        return Annotated(image, torch.rand(index + 1, *size, generator=generator) < 0.3)


def test_an_item_holds_one_mask_and_in_evaluation_all_truths() -> None:
    item = SeededTruths(Drawn(), merger=Merger("any"))[Draw(0, 2)]
    image, truths = Drawn()[2]
    assert torch.equal(item["image"], image)
    assert torch.equal(item["mask"], truths.any(0).to(torch.uint8))
    assert "truths" not in item
    item = SeededTruths(Drawn(), merger=Merger("vote"), keep=True)[Draw(0, 2)]
    assert torch.equal(item["truths"], truths)
    assert all(type(value) is Tensor for value in item.values())


def test_a_filler_has_no_annotator() -> None:
    item = SeededTruths(Drawn(), merger=Merger(), keep=True)[Draw(0, 2, filler=True)]
    assert item["truths"].shape == (0, 12, 20)
    assert (item["mask"] == 255).all()


def test_landscape_turns_image_and_truths_alike() -> None:
    dataset = SeededTruths(Drawn(), merger=Merger("any"), landscape=True, keep=True)
    image, truths = Drawn()[1]
    item = dataset[Draw(0, 1)]
    assert torch.equal(item["image"], image.rot90(1, (1, 2)))
    assert torch.equal(item["truths"], truths.rot90(1, (1, 2)))
    assert torch.equal(item["mask"], truths.any(0).rot90(1, (0, 1)).to(torch.uint8))
    assert torch.equal(dataset[Draw(0, 2)]["image"], Drawn()[2].image)


def test_the_annotator_depends_on_seed_epoch_and_index_alone() -> None:
    def masks(seed: int = 0, *, cached: bool = False) -> list[Tensor]:
        dataset = Cached(Drawn()) if cached else Drawn()
        drawn = SeededTruths(dataset, merger=Merger("sample"), seed=seed, repeat=2)
        return [drawn[Draw(epoch, index)]["mask"] for epoch in range(8) for index in (2, 5)]

    truths = Drawn()[2].truths.to(torch.uint8)
    chosen = [next(k for k in range(3) if torch.equal(mask, truths[k])) for mask in masks()]
    assert set(chosen) == {0, 1, 2}
    assert chosen[::2] != chosen[1::2]  # another visit in the same epoch may see another annotator
    torch.manual_seed(7)
    assert all(map(torch.equal, masks(), masks(cached=True)))
    assert not all(map(torch.equal, masks(), masks(seed=1)))


def test_a_batch_lists_the_truths_of_its_images() -> None:
    dataset = SeededTruths(Drawn(), merger=Merger(), keep=True)
    batch = collate_truths([dataset[Draw(0, 0)], dataset[Draw(0, 2)]])
    assert batch["image"].shape == (2, 3, 12, 20)
    assert [truths.shape for truths in batch["truths"]] == [(1, 12, 20), (3, 12, 20)]
    training = SeededTruths(Drawn(), merger=Merger(), batch_augment=BatchAugment(crop=8))
    batch = collate_truths([training[Draw(0, 0)], training[Draw(0, 2)]])
    assert set(batch) == {"image", "mask", "index", "epoch", "parameters"}
    with pytest.raises(ValueError, match=r"unequal sizes .*1: 12x20, 2: 20x12"):
        collate_truths([dataset[Draw(0, 1)], dataset[Draw(0, 2)]])
