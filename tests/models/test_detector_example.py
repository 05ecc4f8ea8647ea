"""The example of a detector: targets and boxes are each other's inverse, losses are the paper's, and it trains."""

import runpy
from pathlib import Path

import pytest
import torch
from torchvision.ops import box_iou

ROOT = Path(__file__).parents[2]
EXAMPLE = runpy.run_path(str(ROOT / "examples" / "detector.py"), run_name="example")
HEIGHT, WIDTH = 24, 32  # of the maps


@pytest.fixture
def scenes():
    torch.manual_seed(0)
    apart = torch.tensor([[9.0, 13, 35, 41], [70, 50, 100, 89], [81.5, 3, 120, 20.25]])
    return [(torch.zeros(3, 96, 128), apart, torch.tensor([0, 1, 1])), EXAMPLE["scene"]()]


def perfect(scenes):
    """The maps that the losses ask for, found by descending them: what they say nothing of stays 0."""
    maps = {name: torch.zeros(len(scenes), 2, HEIGHT, WIDTH, requires_grad=True) for name in ("hm", "wh", "reg")}
    optimizer = torch.optim.Adam(maps.values(), lr=0.1)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.01, 600)
    for _ in range(600):
        optimizer.zero_grad()
        EXAMPLE["loss"](maps, scenes).backward()
        optimizer.step()
        schedule.step()
    return {name: values.detach() for name, values in maps.items()}


def test_maps_without_loss_give_the_boxes(scenes):
    boxes, classes, scores = EXAMPLE["found"]({name: values[0] for name, values in perfect(scenes).items()}, 0.5)
    assert len(boxes) == 3
    assert (scores.diff() <= 0).all()
    order = box_iou(scenes[0][1], boxes).argmax(1)
    torch.testing.assert_close(boxes[order], scenes[0][1], atol=0.2, rtol=0)
    assert classes[order].tolist() == [0, 1, 1]


def test_boxes_moved_by_the_radius_keep_the_overlap():
    sizes = torch.tensor([[10.0, 10], [30, 5], [7, 60]])
    radii = EXAMPLE["radius"](sizes)
    boxes = torch.cat([torch.zeros_like(sizes), sizes], 1)
    kept = box_iou(boxes, boxes + radii[:, None]).diag()
    torch.testing.assert_close(kept, torch.full((3,), EXAMPLE["OVERLAP"]))


def test_heatmap_is_one_at_the_peaks_and_the_larger_of_two_gaussians():
    like, classes = torch.zeros(2, 9, 12), torch.tensor([1, 1])
    heat = EXAMPLE["heatmap"](torch.tensor([[2, 3], [5, 3]]), torch.tensor([3.0, 6.0]), classes, like)
    assert not heat[0].any()
    assert (heat == 1).nonzero().tolist() == [[1, 3, 2], [1, 3, 5]]
    torch.testing.assert_close(heat[1, 3, [1, 4]], torch.tensor([-1 / 2, -1 / 8]).exp())  # sigmas of 1 and 2


def test_focal_loss_by_hand():
    p, heat = torch.tensor([0.8, 0.3]), torch.tensor([1.0, 0.5])
    expected = -(0.2**2 * torch.tensor(0.8).log() + 0.5**4 * 0.3**2 * torch.tensor(0.7).log())
    torch.testing.assert_close(EXAMPLE["focal_loss"](p.logit(), heat), expected)


def test_images_without_objects_and_boxes_without_width_give_a_loss_that_is_a_number():
    torch.manual_seed(0)
    none = (torch.zeros(3, 96, 128), torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    line = (torch.zeros(3, 96, 128), torch.tensor([[128.0, 10, 128, 30], [40, 8, 40, 8]]) - 8, torch.tensor([0, 1]))
    maps = {name: torch.randn(2, 2, HEIGHT, WIDTH, requires_grad=True) for name in ("hm", "wh", "reg")}
    value = EXAMPLE["loss"](maps, [none, none])
    torch.testing.assert_close(value, EXAMPLE["focal_loss"](maps["hm"], torch.zeros_like(maps["hm"])))
    assert EXAMPLE["loss"](maps, [none, line]).isfinite()


def test_heatmap_is_made_where_the_maps_are():
    arguments = torch.tensor([[2, 3]]), torch.tensor([3.0]), torch.tensor([1]), torch.zeros(2, 9, 12)
    with torch.device("meta"):  # of all that is made without a device
        heat = EXAMPLE["heatmap"](*arguments)
    assert heat[1, 3, 2] == 1


def test_a_few_steps_and_a_picture(tmp_path, capsys):
    EXAMPLE["main"](str(tmp_path / "shapes.png"), steps=2)
    assert (tmp_path / "shapes.png").stat().st_size > 1000
    assert "shapes found by" in capsys.readouterr().out
