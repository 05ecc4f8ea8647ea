"""Loading: augmentation follows the seed of the draw, not the worker, and batches hold images of one size."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import sleep
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from dla.data import (
    BatchAugment,
    BoundaryScenesData,
    Cached,
    Draw,
    Scenes,
    ScenesData,
    Seeded,
    SeededSampler,
    collate,
    joint_transforms,
)
from dla.data.sample import Sample, make_sample
from dla.images import RGB


def batches(epoch: int, *, workers: int = 0, seed: int = 0, repeat: int = 1) -> list[dict[str, Tensor]]:
    transform = joint_transforms(crop=32, color=0.3)
    dataset = Seeded(Scenes(12, size=48), seed=seed, transform=transform, repeat=repeat)
    sampler = SeededSampler(dataset, shuffle=True, seed=seed)
    sampler.set_epoch(epoch)
    return list(DataLoader(dataset, batch_size=4, sampler=sampler, num_workers=workers, collate_fn=collate))


def equal(one: list[dict[str, Tensor]], other: list[dict[str, Tensor]]) -> bool:
    return all(torch.equal(a[key], b[key]) for a, b in zip(one, other, strict=True) for key in a)


@pytest.mark.filterwarnings("ignore:.*worker processes in total")  # on a machine with one core
def test_workers_make_no_difference() -> None:
    assert equal(batches(1, workers=0), batches(1, workers=2))


def test_epoch_three_is_the_same_whatever_came_before() -> None:
    torch.manual_seed(5)
    after_others = [batches(epoch) for epoch in range(4)][3]
    torch.manual_seed(6)
    assert equal(batches(3), after_others)
    assert not equal(batches(2), after_others)
    assert not equal(batches(3, seed=1), after_others)


def test_augmentation_leaves_the_callers_generator_alone() -> None:
    dataset = Seeded(Scenes(2, size=48), transform=joint_transforms(crop=32))
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    dataset[Draw(0, 1)]
    assert torch.equal(torch.rand(3), expected)


def test_one_sample_differs_between_epochs() -> None:
    dataset = Seeded(Scenes(2, size=48), transform=joint_transforms(crop=32))
    assert not torch.equal(dataset[Draw(0, 1)]["mask"], dataset[Draw(1, 1)]["mask"])


def test_repeats_are_augmented_anew() -> None:
    (first, *rest) = batches(0, repeat=2)
    index = torch.cat([first["index"], *[batch["index"] for batch in rest]])
    assert sorted(index.tolist()) == list(range(24))
    dataset = Seeded(Scenes(12, size=48), transform=joint_transforms(crop=32), repeat=2)
    assert not torch.equal(dataset[Draw(0, 3)]["image"], dataset[Draw(0, 15)]["image"])
    plain = Seeded(Scenes(12, size=48), repeat=2)
    assert torch.equal(plain[Draw(0, 3)]["image"], plain[Draw(0, 15)]["image"])


def test_batch_contents() -> None:
    batch = batches(2)[0]
    assert batch["image"].shape == (4, 3, 32, 32)
    assert batch["mask"].shape == (4, 32, 32)
    assert batch["image"].dtype == batch["mask"].dtype == torch.uint8
    assert batch["index"].dtype == batch["epoch"].dtype == torch.int64
    assert batch["epoch"].tolist() == [2, 2, 2, 2]
    assert all(type(value) is Tensor for value in batch.values())


def test_parameters_travel_with_the_batch() -> None:
    augment = BatchAugment(crop=32)
    dataset = Seeded(Scenes(3, size=48), seed=4, batch_augment=augment)
    batch = collate([dataset[Draw(1, 0)], dataset[Draw(1, 2)]])
    assert batch["image"].shape == (2, 3, 48, 48)
    assert batch["parameters"].shape == (2, 8)
    assert torch.equal(batch["parameters"][1], dataset[Draw(1, 2)]["parameters"])
    assert not torch.equal(batch["parameters"][1], dataset[Draw(2, 2)]["parameters"])


def test_a_filler_counts_nowhere() -> None:
    dataset = Seeded(Scenes(2, size=48))
    assert (dataset[Draw(0, 1, filler=True)]["mask"] == 255).all()
    assert (dataset[Draw(0, 1)]["mask"] != 255).all()


class Uneven:
    """Samples of different heights; counts how often each is read."""

    classes: ClassVar[tuple[str, ...]] = ("only",)
    colors: ClassVar[tuple[RGB, ...]] = ((0, 0, 0),)

    def __init__(self) -> None:
        self.reads = [0, 0, 0]

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Sample:
        self.reads[index] += 1
        height = 10 + index
        image, mask = torch.full((3, height, 20), index, dtype=torch.uint8), torch.zeros(height, 20, dtype=torch.uint8)
        return make_sample(image, mask)


def test_unequal_sizes_in_a_batch_are_a_clear_error() -> None:
    dataset = Seeded(Uneven())
    with pytest.raises(ValueError, match=r"unequal sizes .*0: 20x10, 2: 20x12.*val_batch_size 1 for"):
        collate([dataset[Draw(0, 0)], dataset[Draw(0, 2)]])
    assert collate([dataset[Draw(0, 2)]])["image"].shape == (1, 3, 12, 20)


def test_cache_reads_each_sample_once() -> None:
    source = Uneven()
    cached = Cached(source)
    assert source.reads == [1, 1, 1]
    assert all(torch.equal(cached[index].image, Uneven()[index].image) for index in (2, 0, 1, 2))
    assert source.reads == [1, 1, 1]
    assert len(cached) == 3


@pytest.mark.parametrize(("room", "fits"), [(30 * 400, True), (30 * 400 - 1, False), (None, True)])
def test_a_cache_that_would_fill_the_memory_is_refused_before_all_is_read(room, fits, monkeypatch) -> None:
    monkeypatch.setattr("dla.data.loading.memory", lambda: room)
    monkeypatch.setattr("dla.data.loading.ThreadPoolExecutor", partial(ThreadPoolExecutor, 1))
    read = []

    class Slow:
        def __len__(self) -> int:
            return 30

        def __getitem__(self, index: int) -> Sample:
            read.append(index)
            sleep(0.02)
            return make_sample(torch.zeros(3, 10, 10, dtype=torch.uint8), torch.zeros(10, 10, dtype=torch.uint8))

    if fits:
        assert len(Cached(Slow())) == 30
        return
    with pytest.raises(
        ValueError, match=r"30 images take about 0 GiB .*: set --data.cache false, or .* --data.max_size"
    ):
        Cached(Slow())
    assert len(read) < 20


def test_cache_is_not_changed_by_augmentation() -> None:
    cached = Cached(Scenes(2, size=48))
    before = cached[1].image.clone()
    dataset = Seeded(cached, transform=joint_transforms(crop=48, scale=None, rotate=0.0, color=0.5))
    for epoch in range(4):
        collate([dataset[Draw(epoch, 1)]])
    assert torch.equal(cached[1].image, before)


@pytest.mark.parametrize(("kind", "size"), [(ScenesData, 12_336), (BoundaryScenesData, 15_408)])
def test_a_batch_without_room_in_shared_memory_is_a_clear_error(kind, size, monkeypatch) -> None:
    """torch would wait for it for ever."""
    data = kind(size=32, train_images=2, val_images=3, val_batch_size=3, workers=1)
    data.cache = True  # then the worker is a fork, which has what is set here
    data.setup("validate")
    free = [size]
    monkeypatch.setattr("dla.data.loading.disk_usage", lambda path: SimpleNamespace(free=free[0]))
    assert len(list(data.val_dataloader())) == 1
    free[0] -= 1
    with pytest.raises(ValueError, match=r"a batch of 0\.0 MiB has no room in /dev/shm, where 0\.0 MiB are free: give"):
        list(data.val_dataloader())
    data.workers = 0
    assert len(list(data.val_dataloader())) == 1
