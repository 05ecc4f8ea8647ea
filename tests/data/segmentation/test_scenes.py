"""Synthetic scenes: the same for the same seed, with truths that agree, and not to be solved by a constant."""

import time

import pytest
import torch

from dla.data import Scene, Scenes


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    dataset = Scenes(80, size=96, seed=3)
    return [dataset.scene(index) for index in range(len(dataset))]


def test_sample_types() -> None:
    image, mask = Scenes(1, size=72)[0]
    assert image.shape == (3, 72, 72)
    assert mask.shape == (72, 72)
    assert image.dtype == mask.dtype == torch.uint8


def test_same_arguments_same_scene_others_another() -> None:
    image, mask = Scenes(9, seed=1)[4]
    again, mask_again = Scenes(5, seed=1)[4]
    assert torch.equal(image, again)
    assert torch.equal(mask, mask_again)
    others = [Scenes(9, seed=1)[5], Scenes(9, seed=2)[4], Scenes(9, seed=1, split="val")[4]]
    assert all(not torch.equal(image, other.image) for other in others)


def test_every_class_is_there_and_none_else(scenes: list[Scene]) -> None:
    counts = sum(torch.bincount(scene.mask.flatten(), minlength=6) for scene in scenes)
    assert len(counts) == len(Scenes.classes) == len(Scenes.colors) == 6
    assert (counts / counts.sum() > 0.04).all()


def test_constant_prediction_scores_below_15_percent(scenes: list[Scene]) -> None:
    masks = torch.stack([scene.mask for scene in scenes])
    # A constant's IoU is the part of its own class there, and 0 in each other class.
    scores = [(masks == label).float().mean() / 6 for label in range(6)]
    assert max(scores) < 0.15


def test_color_alone_does_not_tell_the_class(scenes: list[Scene]) -> None:
    """The mean colours of the classes lie closer together than pixels of one class do."""
    pixels = torch.cat([scene.image.flatten(1) for scene in scenes], dim=1).float()
    labels = torch.cat([scene.mask.flatten() for scene in scenes])
    means = torch.stack([pixels[:, labels == label].mean(1) for label in range(1, 6)])
    within = torch.stack([pixels[:, labels == label].std(1) for label in range(1, 6)]).mean()
    assert means.std(0).max() < within / 3


def test_the_boundary_agrees_with_the_mask(scenes: list[Scene]) -> None:
    for scene in scenes:
        right = scene.mask[:, 1:] != scene.mask[:, :-1]
        below = scene.mask[1:] != scene.mask[:-1]
        assert scene.boundary[:, :-1][right].all()
        assert scene.boundary[:-1][below].all()
        assert scene.boundary.float().mean() < 0.2


def test_shapes_of_one_class_are_parted(scenes: list[Scene]) -> None:
    def within(scene: Scene) -> int:
        right = scene.mask[:-1, 1:] == scene.mask[:-1, :-1]
        below = scene.mask[1:, :-1] == scene.mask[:-1, :-1]
        return int((scene.boundary[:-1, :-1] & right & below).sum())

    assert sum(within(scene) > 5 for scene in scenes) > 10


def test_fast_enough_to_be_made_on_the_fly() -> None:
    dataset = Scenes(20, size=128)
    seconds = []
    for index in range(20):
        start = time.process_time()
        dataset.scene(index)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.05  # some 5 ms; the best of many, since other programs run too


@pytest.mark.usefixtures("unchecked_shapes")  # with which the annotation refuses it before
def test_errors_name_the_value() -> None:
    with pytest.raises(ValueError, match="no split 'dev' of the scenes; expected one of train, val, test"):
        Scenes(1, split="dev")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="scenes of 8 pixels"):
        Scenes(1, size=8)
    with pytest.raises(IndexError, match="no scene 3"):
        Scenes(3)[3]
