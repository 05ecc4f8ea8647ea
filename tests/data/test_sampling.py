"""The order of samples: by seed and epoch alone, shared out between processes, and no sample counted twice."""

import pytest
import torch
from torch.utils.data import DistributedSampler

from dla.data import Draw, SeededSampler, draw_seed
from dla.data.sampling import RepeatedSampler


def items(sampler: SeededSampler) -> list[int]:
    return [draw.item for draw in sampler]


def test_one_process_without_a_group_draws_everything() -> None:
    sampler = SeededSampler(range(10), shuffle=True, seed=1)
    assert isinstance(sampler, DistributedSampler)  # or Lightning would replace it
    assert sorted(items(sampler)) == list(range(10))
    assert items(SeededSampler(range(4), shuffle=False)) == [0, 1, 2, 3]


def test_order_depends_on_seed_and_epoch_alone() -> None:
    one, other = (SeededSampler(range(50), shuffle=True, seed=1) for _ in range(2))
    for epoch in range(4):
        one.set_epoch(epoch)
        visited = list(one)
    torch.manual_seed(9)
    other.set_epoch(3)
    assert list(other) == visited
    assert {draw.epoch for draw in visited} == {3}
    other.set_epoch(2)
    assert items(other) != items(one)
    assert items(SeededSampler(range(50), shuffle=True, seed=2)) != items(
        SeededSampler(range(50), shuffle=True, seed=1)
    )


def test_processes_share_a_training_epoch() -> None:
    parts = [SeededSampler(range(11), shuffle=True, drop_last=True, num_replicas=2, rank=rank) for rank in (0, 1)]
    first, second = (items(part) for part in parts)
    assert len(first) == len(second) == len(parts[0]) == 5
    assert not set(first) & set(second)
    assert not any(draw.filler for part in parts for draw in part)


def test_evaluation_marks_what_fills_up() -> None:
    parts = [SeededSampler(range(10), shuffle=False, num_replicas=4, rank=rank) for rank in range(4)]
    draws = [draw for part in parts for draw in part]
    assert len({len(list(part)) for part in parts}) == 1
    assert sorted(draw.item for draw in draws if not draw.filler) == list(range(10))
    assert sum(draw.filler for draw in draws) == 2


def test_more_processes_than_samples() -> None:
    draws = [draw for rank in range(5) for draw in SeededSampler(range(2), shuffle=False, num_replicas=5, rank=rank)]
    assert sorted(draw.item for draw in draws if not draw.filler) == [0, 1]
    assert len(draws) == 5


def test_seeds_of_neighbours_are_unrelated() -> None:
    seeds = [draw_seed(seed, epoch, item) for seed in range(5) for epoch in range(20) for item in range(20)]
    assert len(set(seeds)) == len(seeds)
    assert draw_seed(1, 2, 3) == draw_seed(1, 2, 3)
    values = torch.stack([torch.rand(2, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    assert (values.mean(0) - 0.5).abs().max() < 0.03
    assert torch.corrcoef(values.T)[0, 1].abs() < 0.06


def test_draws_are_plain_tuples() -> None:
    assert Draw(3, 5) == (3, 5, False)


def test_repeated_augmentation_draws_each_image_in_a_row() -> None:
    sampler = RepeatedSampler(range(50), copies=3, seed=1)
    sampler.set_epoch(2)
    drawn = items(sampler)
    assert len(drawn) == len(sampler) == 50
    images = [item % 50 for item in drawn]
    assert images[:48] == [image for image in images[:48:3] for _ in range(3)]
    assert len(set(images)) == 17
    assert len(set(drawn)) == 50  # each copy has a number, and so a seed, of its own
    assert drawn[:3] == [images[0], images[0] + 50, images[0] + 100]
    sampler.set_epoch(3)
    assert items(sampler) != drawn
    plain = SeededSampler(range(50), shuffle=True, seed=1)
    plain.set_epoch(2)
    assert images[::3] == items(plain)[:17]


def test_copies_go_to_different_processes() -> None:
    parts = [RepeatedSampler(range(23), copies=3, num_replicas=4, rank=rank) for rank in range(4)]
    drawn = [list(part) for part in parts]
    assert {len(part) for part in drawn} == {5}
    assert len({draw.item for part in drawn for draw in part}) == 20
    for part in drawn:
        images = [draw.item % 23 for draw in part]
        assert len(set(images)) == len(images)
    together = [draw for turn in zip(*drawn, strict=True) for draw in turn]
    alone = list(RepeatedSampler(range(23), copies=3, num_replicas=1, rank=0))
    assert together == alone[:20]


def test_one_copy_is_no_repetition() -> None:
    assert items(RepeatedSampler(range(9), copies=1)) == items(SeededSampler(range(9), shuffle=True, drop_last=True))
    with pytest.raises(ValueError, match="copies is 0; expected how often"):
        RepeatedSampler(range(9), copies=0)


@pytest.mark.parametrize("copies", [1, 3])
def test_what_was_had_of_one_epoch_is_left_out(copies: int) -> None:
    whole, rest = (RepeatedSampler(range(20), copies=copies, num_replicas=2, rank=1) for _ in range(2))
    rest.leave_out(1, 4)
    for epoch, had in ((0, 0), (1, 4), (2, 0)):
        whole.set_epoch(epoch)
        rest.set_epoch(epoch)
        assert list(rest) == list(whole)[had:]
        assert len(rest) == len(whole) == 10


def test_each_kind_of_draws_is_left_out_alike() -> None:
    plain = SeededSampler(range(20), shuffle=False, num_replicas=3, rank=2)
    plain.leave_out(0, 5)
    assert list(plain) == [Draw(0, 17), Draw(0, 0, filler=True)]
