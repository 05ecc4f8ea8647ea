"""What a classifier sees of an image: the authors' colours, and ten crops."""

import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from dla.data.lighting import Lighting
from dla.data.views import center_view, random_view, ten_views


@pytest.fixture
def image() -> tv_tensors.Image:
    """Every pixel another value, so that a crop tells where it is from."""
    return tv_tensors.Image(torch.arange(3 * 12 * 17, dtype=torch.uint8).reshape(3, 12, 17))


def test_colors_come_before_the_mirror_as_the_authors_have_them():
    view = random_view(crop=8, jitter=0.4, lighting=0.1, policy="randaugment")
    kinds = [type(step) for step in view.transforms]
    assert kinds == [v2.RandomResizedCrop, v2.RandomOrder, Lighting, v2.RandomHorizontalFlip, v2.RandAugment]
    assert len(random_view(crop=8).transforms) == 2


def test_a_training_view_is_seeded_and_of_one_size(image):
    view = random_view(crop=8, jitter=0.4, lighting=0.1)
    views = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        views.append(view(image, torch.tensor(1))[0])
    assert views[0].shape == (3, 8, 8)
    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])


def test_ten_crops_are_corners_centre_and_their_mirrors(image):
    crops, label = ten_views(crop=7, resize=12)(image, torch.tensor(4))
    assert (crops.shape, crops.dtype, int(label)) == ((10, 3, 7, 7), torch.uint8, 4)
    corners = [image[:, :7, :7], image[:, :7, -7:], image[:, -7:, :7], image[:, -7:, -7:]]
    for crop, corner in zip(crops, corners, strict=False):
        assert torch.equal(crop, corner)
    assert torch.equal(crops[4], center_view(crop=7, resize=12)(image, label)[0])
    assert torch.equal(crops[5:], crops[[1, 0, 3, 2, 4]].flip(-1))  # what was at the right is at the left


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"jitter": -0.1}, "jitter -0.1"),
        ({"lighting": -1.0}, "lighting -1.0"),
        ({"color": 0.4, "jitter": 0.4}, "both vary brightness and contrast: turn one off"),
    ],
)
def test_bad_options_are_named(options, fault):
    with pytest.raises(ValueError, match=fault):
        random_view(crop=8, **options)


@pytest.mark.parametrize("resize", [8, 7])
def test_ten_crops_need_room(resize):
    with pytest.raises(ValueError, match="ten crops need a shorter side larger than the crop: raise resize"):
        ten_views(crop=8, resize=resize)
