"""The example of a tracker: shapes keep their number where they went where its maps say, and it trains."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def example():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        yield SimpleNamespace(**runpy.run_path(str(EXAMPLES / "tracker.py"), run_name="example"))


def boxes(*centers, side=10.0):
    return torch.tensor([[x - side / 2, y - side / 2, x + side / 2, y + side / 2] for x, y in centers])


def test_shapes_move_evenly_within_the_image(example):
    torch.manual_seed(0)
    for _ in range(20):
        scenes = example.clip(9)
        at = torch.stack([boxes for _, boxes, _ in scenes])  # (images, shapes, 4)
        sizes = at[..., 2:] - at[..., :2]
        torch.testing.assert_close(sizes, sizes[:1].expand_as(sizes))
        assert at.min() >= 0
        assert (at[..., 2:] <= torch.tensor([128, 96]) + 1e-3).all()
        steps = at[..., :2].diff(dim=0)
        assert (steps.abs() <= example.FASTEST + 1e-3).all()
        turned = (steps[1:] - steps[:-1]).abs() > 1e-3
        assert turned.float().mean() < 0.5


def test_an_object_keeps_its_number_where_its_way_leads_back(example):
    known = boxes((20, 20), (40, 20), (80, 80)), torch.tensor([0, 0, 1]), torch.tensor([5, 6, 7])
    now = boxes((41, 21), (60, 20), (80, 80), (100, 10))
    ways = torch.tensor([[-20.0, 0], [-20, 0], [0, 0], [0, 0]])
    numbers = example.same(now, torch.tensor([0, 0, 1, 1]), ways, known, 8)
    assert numbers.tolist() == [5, 6, 7, 8]  # by the nearest centre alone the first would be number 6
    other = example.same(now[2:3], torch.tensor([0]), ways[2:3], known, 8)
    assert other.tolist() == [8]  # of another class
    twice = example.same(boxes((20, 20), (21, 20)), torch.tensor([0, 0]), torch.zeros(2, 2), known, 8)
    assert twice.tolist() == [5, 8]  # the surer one takes it, and number 6 is too far away
    assert example.same(now[:0], torch.zeros(0, dtype=torch.long), ways[:0], known, 8).tolist() == []


def test_ways_back_are_in_pixels_of_the_image_and_without_loss_where_they_are_right(example):
    torch.manual_seed(0)
    pairs = [example.clip(2) for _ in range(3)]
    maps = {"tracking": torch.zeros(3, 2, 24, 32, requires_grad=True)}
    optimizer = torch.optim.Adam(maps.values(), lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        example.tracking_loss(maps, pairs).backward()
        optimizer.step()
    for i, ((_, before, _), (_, now, _)) in enumerate(pairs):
        ways = example.way_back({"tracking": maps["tracking"][i]}, now)
        (here, _), (there, _) = example.centers_and_sizes(now), example.centers_and_sizes(before)
        torch.testing.assert_close(here + ways, there, atol=1, rtol=0)
    still = [[pair[0], pair[0]] for pair in pairs]
    assert example.tracking_loss({"tracking": torch.zeros(3, 2, 24, 32)}, still) == 0


@pytest.mark.parametrize(("before", "now"), [(1, 3), (3, 1), (0, 1)])
def test_an_object_that_comes_or_goes_has_no_way_back(example, before, now):
    at = boxes((20, 20), (40, 20), (80, 80))
    pair = [(torch.zeros(3, 96, 128), at[:count], torch.zeros(count, dtype=torch.long)) for count in (before, now)]
    with pytest.raises(RuntimeError, match="stack expects each tensor to be equal size"):
        example.tracking_loss({"tracking": torch.zeros(1, 2, 24, 32)}, [pair])


def test_each_image_is_seen_beside_the_one_before_it_and_the_first_beside_itself(example):
    seen = []

    def model(x):
        seen.append([int(x[0, 0, 0, 0]), int(x[0, 3, 0, 0])])
        return {name: torch.full((1, 2, 24, 32), -9.0) for name in ("hm", "wh", "reg", "tracking")}

    for length in (0, 1, 3):
        answers = example.follow(model, [torch.full((3, 96, 128), float(time)) for time in range(length)])
        assert [len(boxes) for boxes, *_ in answers] == [0] * length
    assert seen == [[0, 0], [0, 0], [1, 0], [2, 1]]


def test_what_was_seen_is_a_map_of_the_images_size(example):
    heat = example.seen(boxes((20, 20), (100, 70)), torch.zeros(3, 96, 128))
    assert heat.shape == (1, 96, 128)
    assert (heat == 1).nonzero().tolist() == [[0, 20, 20], [0, 70, 100]]


def test_changes_of_numbers_are_counted_over_images_in_which_a_shape_is_not_found(example):
    truth = boxes((20, 20), (80, 80))
    scenes = [(torch.zeros(3, 96, 128), truth, torch.tensor([0, 1]))] * 3
    first = truth, torch.tensor([0, 1]), torch.tensor([0, 1])
    second = truth[1:], torch.tensor([1]), torch.tensor([1])
    third = truth.flip(0), torch.tensor([1, 0]), torch.tensor([1, 2])
    assert example.changes(scenes, [first, second, third]) == (6, 5, 1)


def test_a_few_steps_and_a_picture(example, tmp_path, capsys):
    example.main(str(tmp_path / "clip.png"), steps=2, count=3)
    assert (tmp_path / "clip.png").stat().st_size > 1000
    assert "with their ways back, their numbers changed" in capsys.readouterr().out
