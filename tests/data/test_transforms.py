"""Augmentation of single samples: image and mask stay together, and what lies outside does not count."""

import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from dla.data import RandomScale, Sample, Scenes, joint_transforms
from dla.data.sample import make_sample
from dla.data.transforms import FILL


def labelled(size: int = 80) -> Sample:
    """A sample whose image is drawn from its own mask: class k is grey 40 k, outside is neither."""
    mask = Scenes(1, size=size)[0].mask
    return make_sample((mask * 40).expand(3, -1, -1), mask)


def agreement(image: Tensor, mask: Tensor) -> float:
    """How much of the counted area, edges left out, has the grey of its label."""
    top, low = (torch.nn.functional.max_pool2d(sign * mask[None].float(), 5, 1, 2)[0] for sign in (1, -1))
    inside = (top == -low) & (mask != 255)
    return ((image[0].float() / 40).round() == mask)[inside].float().mean().item()


@pytest.mark.parametrize(("scale", "rotate"), [(None, 0.0), ((0.5, 2.0), 0.0), (None, 10.0), ((0.5, 2.0), 10.0)])
def test_image_and_mask_stay_aligned(scale: tuple[float, float] | None, rotate: float) -> None:
    transform = joint_transforms(crop=64, scale=scale, rotate=rotate, flip=True)
    for seed in range(10):
        torch.manual_seed(seed)
        image, mask = transform(*labelled())
        assert image.shape == (3, 64, 64)
        assert mask.shape == (64, 64)
        assert image.dtype == mask.dtype == torch.uint8
        assert agreement(image, mask) > 0.99


@pytest.mark.parametrize("factor", [0.55, 0.8, 1.0, 1.7, 1.95])
def test_scaled_masks_lie_where_their_images_do(factor: float) -> None:
    """A mask that lies half a pixel off still agrees with its image away from edges, so its centre is measured."""
    rows, columns = torch.meshgrid(torch.arange(200), torch.arange(200), indexing="ij")
    disc = ((rows - 90) ** 2 + (columns - 110) ** 2 < 40**2).to(torch.uint8)
    image, mask = RandomScale((factor, factor))(*make_sample((disc * 255).expand(3, -1, -1), disc))
    assert isinstance(mask, tv_tensors.Mask)
    offset = centre(mask) - centre(image[0])
    assert offset.abs().max() < 0.2  # what is left is rounding; from corner to corner it would be 0.4 or more


def centre(map: Tensor) -> Tensor:
    weights = map.as_subclass(Tensor).double()
    lines = [weights.sum(1 - axis) for axis in (0, 1)]
    return torch.stack([(line * torch.arange(len(line))).sum() / line.sum() for line in lines])


def test_plain_tensors_are_moved_alike() -> None:
    transform = joint_transforms(crop=64)
    plain = [part.as_subclass(Tensor) for part in labelled()]
    for parts in (plain, labelled()):
        torch.manual_seed(1)
        image, mask = transform(*parts)
        assert agreement(image, mask) > 0.99


def test_small_images_are_padded_with_the_mean_and_255() -> None:
    image, mask = joint_transforms(crop=100, scale=None, rotate=0.0, flip=False)(*labelled(80))
    outside = mask == 255
    assert outside.sum() == 100 * 100 - 80 * 80
    assert (image[:, outside] == torch.tensor(FILL).view(3, 1)).all()


def test_rotation_leaves_corners_that_do_not_count() -> None:
    torch.manual_seed(3)
    image, mask = joint_transforms(crop=80, scale=None, rotate=10.0, flip=False)(*labelled(80))
    assert 0 < (mask == 255).float().mean() < 0.2
    assert (image[0, mask != 255] % 40 != 0).any()  # greys between those of the classes: edges are not torn
    assert (mask[30:50, 30:50] != 255).all()


def test_everything_off_is_a_plain_crop() -> None:
    sample = labelled(80)
    image, mask = joint_transforms(crop=80, scale=None, rotate=0.0, flip=False, color=0.0)(*sample)
    assert torch.equal(image, sample.image)
    assert torch.equal(mask, sample.mask)


def test_the_options_tell_the_steps() -> None:
    _, scale, turn, cut, mirror, color = joint_transforms(crop=8, color=0.5).transforms
    assert [type(step) for step in (scale, turn, cut, mirror)] == [
        RandomScale,
        v2.RandomRotation,
        v2.RandomCrop,
        v2.RandomHorizontalFlip,
    ]
    assert (turn.degrees, cut.pad_if_needed) == ([-10.0, 10.0], True)
    assert (color.brightness, color.contrast, color.saturation, color.hue) == (*3 * [(0.5, 1.5)], None)
    plain = joint_transforms(crop=8, scale=None, rotate=0.0, flip=False).transforms
    assert [type(step) for step in plain[1:]] == [v2.RandomCrop]


def test_color_changes_the_image_alone() -> None:
    sample = labelled(80)
    image, mask = joint_transforms(crop=80, scale=None, rotate=0.0, flip=False, color=0.5)(*sample)
    assert not torch.equal(image, sample.image)
    assert torch.equal(mask, sample.mask)


def test_random_scale_is_uniform_and_keeps_the_aspect() -> None:
    torch.manual_seed(0)
    image = tv_tensors.Image(torch.zeros(3, 40, 100, dtype=torch.uint8))
    sizes = torch.tensor([RandomScale((0.5, 2.0))(image).shape[1:] for _ in range(400)]).float()
    factors = sizes[:, 1] / 100
    assert (sizes[:, 0] - 40 * factors).abs().max() <= 1
    assert factors.min() < 0.53
    assert factors.max() > 1.97
    assert abs(factors.mean() - 1.25) < 0.07


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crop": 0}, "crop is 0"),
        ({"crop": 8, "scale": (2.0, 0.5)}, "scale is"),
        ({"crop": 8, "color": -0.1}, "color is -0.1"),
    ],
)
def test_senseless_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        joint_transforms(**arguments)
