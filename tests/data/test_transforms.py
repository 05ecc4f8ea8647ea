"""Augmentation of single samples: image and mask stay together, and what lies outside does not count."""

import math

import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from dla.data import RandomView, Sample, Scenes, joint_transforms
from dla.data.random_view import FILL
from dla.data.sample import make_sample


def labelled(size: int = 80) -> Sample:
    """A sample whose image is drawn from its own mask: class k is grey 40 k, outside is neither."""
    mask = Scenes(1, size=size)[0].mask
    return make_sample((mask * 40).expand(3, -1, -1), mask)


def agreement(image: Tensor, mask: Tensor) -> float:
    """How much of the counted area, edges and the rim left out, has the grey of its label."""
    framed = torch.nn.functional.pad(mask[None, 1:-1, 1:-1].float(), [1, 1, 1, 1], value=255)
    top, low = (torch.nn.functional.max_pool2d(sign * framed, 5, 1, 2)[0] for sign in (1, -1))
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
    view = RandomView(round(200 * factor), (factor, factor))
    image, mask = view(*make_sample((disc * 255).expand(3, -1, -1), disc))
    assert isinstance(mask, tv_tensors.Mask)
    assert 0.95 < (mask == 1).sum() / (disc.sum() * factor**2) < 1.05
    offset = centre(mask) - centre(image[0] * (mask != 255))
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
    _, view, mirror, color = joint_transforms(crop=8, color=0.5).transforms
    assert (type(view), type(mirror)) == (RandomView, v2.RandomHorizontalFlip)
    assert (view.crop, view.scale, view.rotate) == (8, (0.5, 2.0), 10.0)
    assert (color.brightness, color.contrast, color.saturation, color.hue) == (*3 * [(0.5, 1.5)], None)
    plain = joint_transforms(crop=8, scale=None, rotate=0.0, flip=False).transforms
    assert [type(step) for step in plain[1:]] == [RandomView]
    assert (plain[1].crop, plain[1].scale, plain[1].rotate) == (8, (1.0, 1.0), 0.0)


def test_color_changes_the_image_alone() -> None:
    sample = labelled(80)
    image, mask = joint_transforms(crop=80, scale=None, rotate=0.0, flip=False, color=0.5)(*sample)
    assert not torch.equal(image, sample.image)
    assert torch.equal(mask, sample.mask)


def mapped(view: RandomView, height: int, width: int) -> tuple[Tensor, Tensor]:
    """How a view's pixels map to the source's: matrix (2, 2) and the place of its middle, both as (y, x)."""
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    image = tv_tensors.Image(torch.stack([rows, columns, torch.ones_like(rows)]))  # a colour tells its place
    seen, mask = view(image, tv_tensors.Mask(torch.zeros(height, width, dtype=torch.uint8)))
    outside = torch.nn.functional.pad((mask != 0)[None].float(), [1, 1, 1, 1], value=1)
    inside = torch.nn.functional.max_pool2d(outside, 9, 1, 3)[0] == 0  # away from edges
    places = (inside.nonzero() + 0.5 - view.crop / 2).double()
    design = torch.cat([places, torch.ones(len(places), 1)], 1)
    solved = torch.linalg.lstsq(design, seen.as_subclass(Tensor)[:2, inside].T.double()).solution  # (3, 2)
    return solved[:2].T, solved[2]


@pytest.mark.parametrize(("height", "width", "crop"), [(300, 420, 120), (101, 230, 160)])
@pytest.mark.parametrize(
    ("factor", "degrees"), [(1.0, 0.0), (1.6, 0.0), (0.6, 25.0), (1.0, 30.0), (1.8, 10.0), (0.8, 180.0)]
)
def test_a_view_is_a_crop_of_the_scaled_and_turned_image(
    height: int, width: int, crop: int, factor: float, degrees: float
) -> None:
    """Where pixels come from, measured, is a similarity of that factor and angle; the crop lies in the frame."""
    view, angles, positions = RandomView(crop, (factor, factor), degrees), [], []
    room = (torch.tensor([height, width]) * factor - crop).double()
    for seed in range(40):
        torch.manual_seed(seed)
        matrix, middle = mapped(view, height, width)
        assert matrix.det() == pytest.approx(factor**-2, rel=0.03)  # a square of whole pixels is scaled
        torch.testing.assert_close(matrix.T @ matrix, matrix.det() * torch.eye(2).double(), rtol=0, atol=0.01)
        angles.append(math.degrees(torch.atan2(matrix[0, 1], matrix[0, 0])))
        turned = torch.linalg.solve(matrix, middle - torch.tensor([height, width]) / 2)
        positions.append(turned / room)
        assert ((turned.abs() - room.abs() / 2) < 1.5).all()
    found, extent = torch.tensor(angles), torch.stack(positions)
    assert found.abs().max() <= degrees + 0.5
    assert found.max() - found.min() >= 1.6 * degrees
    assert (extent.amax(0) - extent.amin(0) > 0.8).all()


@pytest.mark.parametrize("crop", [64, 65])
@pytest.mark.parametrize("degrees", [0.0, 1.0, 45.0, 180.0])
def test_a_view_within_the_image_shows_nothing_else(crop: int, degrees: float) -> None:
    white = make_sample(torch.full((3, 300, 300), 255, dtype=torch.uint8), torch.ones(300, 300, dtype=torch.uint8))
    view, within = RandomView(crop, (0.8, 1.3), degrees), 0
    for seed in range(40):
        torch.manual_seed(seed)
        top, left, side = view.make_params(list(white))["square"]
        if min(top, left) >= 0 and max(top, left) + side <= 300:
            within += 1
            torch.manual_seed(seed)
            image, mask = view(*white)
            assert (image.min(), mask.min(), mask.max()) == (255, 1, 1)
    assert within > 20


def test_images_are_reduced_with_antialiasing_and_masks_by_what_is_there() -> None:
    lines = (torch.arange(200) % 8 == 0).expand(200, 200).to(torch.uint8)
    torch.manual_seed(0)
    image, mask = RandomView(20, (0.125, 0.125))(*make_sample(255 * lines.expand(3, -1, -1), lines))
    assert ((image.float() - 255 / 8).abs() < 20).all()  # grey: a line in eight is white, and sampled it would be lost
    assert mask.unique().numel() == 1


def test_scale_is_uniform() -> None:
    torch.manual_seed(0)
    view, image = RandomView(400, (0.5, 2.0)), tv_tensors.Image(torch.zeros(3, 40, 100, dtype=torch.uint8))
    drawn = [view.make_params([image]) for _ in range(400)]
    factors = torch.tensor([params["side"] / params["square"][2] for params in drawn])
    assert factors.min() < 0.53
    assert factors.max() > 1.97
    assert abs(factors.mean() - 1.25) < 0.07


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (500, 3)])
def test_images_of_any_shape_are_seen(size: tuple[int, int]) -> None:
    sample = make_sample(torch.zeros(3, *size, dtype=torch.uint8), torch.zeros(size, dtype=torch.uint8))
    transform = joint_transforms(crop=33, rotate=180.0)
    for seed in range(50):
        torch.manual_seed(seed)
        top, left, side = transform.transforms[1].make_params(list(sample))["square"]
        assert 1 - side <= top < size[0]
        assert 1 - side <= left < size[1]
        image, mask = transform(*sample)
        assert image.shape == (3, 33, 33)
        assert set(mask.unique().tolist()) <= {0, 255}


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
