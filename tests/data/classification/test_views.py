"""What a classifier sees of an image: the authors' colours, and ten crops."""

import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from dla.data.classification.lighting import Lighting
from dla.data.classification.views import center_view, random_view, ten_views
from dla.data.random_view import FILL


@pytest.fixture
def image() -> tv_tensors.Image:
    """Every pixel another value, so that a crop tells where it is from."""
    return tv_tensors.Image(torch.arange(3 * 12 * 17, dtype=torch.uint8).reshape(3, 12, 17))


def test_colors_come_before_the_mirror_as_the_authors_have_them():
    view = random_view(crop=8, jitter=0.4, lighting=0.1, policy="randaugment")
    kinds = [type(step) for step in view.transforms]
    assert kinds == [v2.RandomResizedCrop, v2.RandomOrder, Lighting, v2.RandomHorizontalFlip, v2.RandAugment]
    assert len(random_view(crop=8).transforms) == 2


def test_options_reach_the_steps():
    cut, mirror, color, policy = random_view(crop=8, scale=(0.3, 0.9), color=0.4, policy="randaugment").transforms
    assert (cut.size, cut.scale, cut.antialias) == ((8, 8), (0.3, 0.9), True)
    assert (type(mirror), type(policy)) == (v2.RandomHorizontalFlip, v2.RandAugment)
    assert (color.brightness, color.contrast, color.saturation, color.hue) == (*3 * [(0.6, 1.4)], None)
    assert policy.fill == list(FILL)


def test_a_training_view_is_seeded_and_of_one_size(image):
    view = random_view(crop=8, jitter=0.4, lighting=0.1)
    views = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        views.append(view(image, torch.tensor(1))[0])
    assert views[0].shape == (3, 8, 8)
    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])


@pytest.mark.parametrize("side", [7, 8])  # of which one leaves an odd rest at the left and right
def test_ten_crops_are_corners_centre_and_their_mirrors(side, image):
    crops, label = ten_views(crop=side, resize=12)(image, torch.tensor(4))
    assert (crops.shape, crops.dtype, int(label)) == ((10, 3, side, side), torch.uint8, 4)
    corners = [image[:, :side, :side], image[:, :side, -side:], image[:, -side:, :side], image[:, -side:, -side:]]
    for crop, corner in zip(crops, corners, strict=False):
        assert torch.equal(crop, corner)
    assert torch.equal(crops[4], center_view(crop=side, resize=12)(image, label)[0])
    assert torch.equal(crops[5:], crops[:5].flip(-1))


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"crop": 0}, "crop is 0; expected a side of at least 1 pixel"),
        ({"scale": (0.0, 1.0)}, "scale is .* above 0 and up to 1"),
        ({"scale": (0.5, 1.5)}, "scale is .* above 0 and up to 1"),
        ({"scale": (0.8, 0.5)}, "the smaller one first"),
        ({"color": -0.1}, "color is -0.1"),
        ({"policy": "best"}, "policy is 'best'; expected one of"),
        ({"jitter": -0.1}, "jitter -0.1"),
        ({"lighting": -1.0}, "lighting -1.0"),
        ({"color": 0.4, "jitter": 0.4}, "both vary brightness and contrast: turn one off"),
    ],
)
def test_bad_options_are_named(options, fault):
    with pytest.raises(ValueError, match=fault):
        random_view(**{"crop": 8, **options})


@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.5, 0.5)])
def test_a_part_of_one_size_may_be_cut_out(scale, image):
    assert random_view(crop=1, scale=scale)(image, torch.tensor(1))[0].shape == (3, 1, 1)


def test_a_centre_may_be_all_of_the_shorter_side_and_not_more(image):
    assert center_view(crop=12, resize=12)(image, torch.tensor(1))[0].shape == (3, 12, 12)
    for crop, resize in ((13, 12), (0, 12)):
        with pytest.raises(ValueError, match=f"crop is {crop} and resize is {resize}; expected sides in pixels"):
            center_view(crop=crop, resize=resize)


@pytest.mark.parametrize("resize", [8, 7])
def test_ten_crops_need_room(resize):
    with pytest.raises(ValueError, match="ten crops need a shorter side larger than the crop: raise resize"):
        ten_views(crop=8, resize=resize)
