"""Augmentation of whole batches: per image, aligned, and the same whatever else is in the batch."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from dla.data import BatchAugment, Scenes
from dla.data.random_view import FILL

IDENTITY = torch.tensor([1.0, 0.0, 1.0, 0.5, 0.5, 1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def masks() -> Tensor:
    """Eight masks of 64x96, (8, 64, 96)."""
    scenes = Scenes(8, size=96)
    return torch.stack([scenes[index].mask.as_subclass(Tensor)[:64] for index in range(8)])


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Eight images of 64x96, (8, 3, 64, 96)."""
    scenes = Scenes(8, size=96)
    return torch.stack([scenes[index].image.as_subclass(Tensor)[:, :64] for index in range(8)])


def parameters(augment: BatchAugment, count: int = 8) -> Tensor:
    return torch.stack([augment.draw(seed) for seed in range(count)])


def row(**changes: float) -> Tensor:
    names = ("scale", "angle", "mirror", "x", "y", "brightness", "contrast", "saturation")
    values = IDENTITY.clone()
    for name, value in changes.items():
        values[names.index(name)] = value
    return values[None]


def test_two_images_are_augmented_differently(images: Tensor, masks: Tensor) -> None:
    augment = BatchAugment(crop=48, color=0.3)
    drawn = parameters(augment)
    same_image, same_mask = images[:1].expand(8, -1, -1, -1), masks[:1].expand(8, -1, -1)
    image, mask = augment(same_image, same_mask, drawn)
    assert image.shape == (8, 3, 48, 48)
    assert mask.shape == (8, 48, 48)
    for first in range(8):
        for second in range(first):
            assert not torch.equal(mask[first], mask[second])
            assert (image[first] - image[second]).abs().mean() > 5
    assert all(len(drawn[:, column].unique()) == (2 if column == 2 else 8) for column in range(8))


def test_image_and_mask_stay_aligned(masks: Tensor) -> None:
    """The image is its own mask in grey; after the augmentation the nearest grey is the label, but at edges."""
    augment = BatchAugment(crop=64)
    drawn = torch.stack([augment.draw(seed) for seed in range(40)])
    masks = masks.repeat(5, 1, 1)
    image, mask = augment((masks * 40)[:, None].expand(-1, 3, -1, -1), masks, drawn)
    top, low = (F.max_pool2d(sign * mask.float(), 5, 1, 2) for sign in (1, -1))
    inside = (top == -low) & (mask != 255)
    assert inside.float().mean() > 0.3
    told = (image[:, 0] / 40).round()
    assert (told == mask)[inside].float().mean() > 0.99
    assert (told.flip(2) == mask)[inside].float().mean() < 0.8  # a mirrored or shifted mask would show
    assert (told.roll(8, 1) == mask)[inside].float().mean() < 0.9


def test_result_does_not_depend_on_the_rest_of_the_batch(images: Tensor, masks: Tensor) -> None:
    augment = BatchAugment(crop=48, color=0.3)
    drawn = parameters(augment)
    image, mask = augment(images, masks, drawn)
    for chosen in ([3], [5, 3], [7, 6, 5, 4, 3]):
        part, part_mask = augment(images[chosen], masks[chosen], drawn[chosen])
        torch.testing.assert_close(part, image[chosen], rtol=0, atol=1e-3)
        assert torch.equal(part_mask, mask[chosen])


def test_parameters_depend_on_the_seed_alone() -> None:
    augment = BatchAugment(crop=48, color=0.2)
    torch.manual_seed(0)
    first = augment.draw(5)
    torch.rand(3)
    assert torch.equal(augment.draw(5), first)
    assert not torch.equal(augment.draw(6), first)


def test_parameters_cover_their_ranges() -> None:
    drawn = parameters(BatchAugment(crop=48, scale=(0.5, 2.0), rotate=10.0, color=0.2), count=2000)
    low = torch.tensor([0.5, -math.radians(10), -1, 0, 0, 0.8, 0.8, 0.8])
    high = torch.tensor([2.0, math.radians(10), 1, 1, 1, 1.2, 1.2, 1.2])
    assert (drawn >= low).all()
    assert (drawn <= high).all()
    torch.testing.assert_close(drawn.mean(0), (low + high) / 2, rtol=0, atol=0.06)
    off = parameters(BatchAugment(crop=48, scale=None, rotate=0.0, flip=False, color=0.0))
    assert (off[:, [0, 1, 2, 5, 6, 7]] == IDENTITY[[0, 1, 2, 5, 6, 7]]).all()


def test_identity_parameters_cut_the_middle_unchanged(images: Tensor, masks: Tensor) -> None:
    augment = BatchAugment(crop=48, color=0.2)
    image, mask = augment(images, masks, IDENTITY.expand(8, -1))
    torch.testing.assert_close(image, images[:, :, 8:56, 24:72].float(), rtol=0, atol=0.02)
    assert torch.equal(mask, masks[:, 8:56, 24:72])


@pytest.mark.parametrize(("x", "y", "left", "top"), [(0.0, 0.0, 0, 0), (1.0, 0.0, 48, 0), (0.0, 1.0, 0, 16)])
def test_position_reaches_the_ends(images: Tensor, masks: Tensor, x: float, y: float, left: int, top: int) -> None:
    _, mask = BatchAugment(crop=48)(images[:1], masks[:1], row(x=x, y=y))
    assert torch.equal(mask, masks[:1, top : top + 48, left : left + 48])


def test_an_image_that_keeps_its_size_is_cut_at_whole_pixels(images: Tensor, masks: Tensor) -> None:
    augment = BatchAugment(crop=43, scale=None, rotate=0)
    cut, mask = augment(images, masks, parameters(augment))
    for place in range(len(images)):
        windows = images[place].unfold(1, 43, 1).unfold(2, 43, 1)  # (3, 22, 54, 43, 43)
        either = torch.stack([windows, windows.flip(-1)]).float()
        same = (either - cut[place][None, :, None, None]).abs().amax((1, 4, 5)) < 0.1  # (2, 22, 54)
        mirrored, top, left = same.nonzero()[0].tolist()
        part = masks[place, top : top + 43, left : left + 43]
        assert torch.equal(mask[place], part.flip(-1) if mirrored else part)


@pytest.mark.parametrize("padding", ["constant", "reflect"])
def test_a_smaller_image_that_keeps_its_size_is_padded_by_whole_pixels(
    padding: str, images: Tensor, masks: Tensor
) -> None:
    augment = BatchAugment(crop=111, scale=None, rotate=0, flip=False, padding=padding)
    cut, _ = augment(images, masks, parameters(augment))
    windows = cut[0].unfold(1, 64, 1).unfold(2, 96, 1)
    assert (windows - images[0].float()[:, None, None]).abs().amax((0, 3, 4)).min() < 0.1


def test_outside_is_255_and_the_mean_color(images: Tensor, masks: Tensor) -> None:
    image, mask = BatchAugment(crop=128)(images[:1], masks[:1], IDENTITY[None])
    expected = torch.full((1, 128, 128), 255, dtype=torch.uint8)
    expected[:, 32:96, 16:112] = masks[:1]
    assert torch.equal(mask, expected)
    fill = torch.tensor(FILL, dtype=torch.float32).view(3, 1)
    torch.testing.assert_close(image[0, :, mask[0] == 255], fill.expand(3, 128 * 128 - 64 * 96), rtol=0, atol=0.02)


def test_mirror(images: Tensor, masks: Tensor) -> None:
    image, mask = BatchAugment(crop=64)(images[:1], masks[:1], row(mirror=-1.0))
    assert torch.equal(mask, masks[:1, :, 16:80].flip(2))
    torch.testing.assert_close(image, images[:1, :, :, 16:80].flip(3).float(), rtol=0, atol=0.02)


def test_rotation_is_torchvisions(images: Tensor, masks: Tensor) -> None:
    for degrees in (-10.0, 7.0):
        _, mask = BatchAugment(crop=60)(images[:1], masks[:1], row(angle=math.radians(degrees)))
        either = [tv.center_crop(tv.rotate(masks[:1], sign * degrees, fill=255), [60, 60]) for sign in (1, -1)]
        agree = sorted((mask == other).float().mean().item() for other in either)
        assert agree[1] > 0.99
        assert agree[0] < 0.97


@pytest.mark.parametrize("factor", [0.5, 0.6, 0.8, 1.0, 1.5, 2.0])
def test_scaling_is_close_to_an_antialiased_resize(images: Tensor, masks: Tensor, factor: float) -> None:
    height, width = round(64 * factor), round(96 * factor)
    crop = min(height, width) - 8
    image, mask = BatchAugment(crop=crop)(images, masks, row(scale=factor).expand(8, -1))
    resized = tv.center_crop(tv.resize(images.float(), [height, width], antialias=True), [crop, crop])
    labels = tv.center_crop(tv.resize(masks, [height, width], interpolation=0), [crop, crop])
    assert (mask == labels).float().mean() > 0.93  # rounding to the pixel differs at edges
    plain = tv.center_crop(tv.resize(images.float(), [height, width], antialias=False), [crop, crop])
    error = (image - resized).square().mean().sqrt()
    assert error < 6
    if factor < 0.7:  # clearly closer than sampling without a filter
        assert error < 0.6 * (plain - resized).square().mean().sqrt()


@pytest.mark.parametrize("factor", [0.5, 0.8])
def test_a_smaller_image_is_blurred_first(images: Tensor, masks: Tensor, factor: float) -> None:
    """By [w/4, 1 - w/2, w/4] down and across, as the docstring has it, the outermost pixels repeated."""
    side, weight = round(60 * factor), (1 / factor**2 - 1) / 3
    square = images[:, :, :60, :60].float()
    kernel = torch.tensor([weight / 4, 1 - weight / 2, weight / 4])
    padded = F.pad(square.flatten(0, 1)[:, None], (1, 1, 1, 1), mode="replicate")
    blurred = F.conv2d(padded, torch.outer(kernel, kernel)[None, None]).view_as(square)
    expected = F.interpolate(blurred, (side, side), mode="bilinear")
    image, _ = BatchAugment(crop=side)(square.byte(), masks[:, :60, :60], row(scale=factor).expand(8, -1))
    torch.testing.assert_close(image, expected, rtol=0, atol=0.05)


@pytest.mark.parametrize("factors", [(0.8, 1.3, 0.6), (1.5, 1.5, 1.5)])  # the second leaves what there is of levels
def test_colors_are_torchvisions(images: Tensor, masks: Tensor, factors: tuple[float, float, float]) -> None:
    brightness, contrast, saturation = factors
    drawn = row(brightness=brightness, contrast=contrast, saturation=saturation).expand(8, -1)
    image, _ = BatchAugment(crop=64, color=0.5)(images, masks, drawn)
    expected = tv.adjust_brightness(images[:, :, :, 16:80].float() / 255, brightness)
    expected = tv.adjust_saturation(tv.adjust_contrast(expected, contrast), saturation)
    torch.testing.assert_close(image, 255 * expected, rtol=0, atol=0.1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_device_gives_the_same(images: Tensor, masks: Tensor) -> None:
    augment = BatchAugment(crop=48, color=0.3)
    drawn = parameters(augment)
    image, mask = augment(images, masks, drawn)
    on_device, mask_on_device = augment(images.cuda(), masks.cuda(), drawn.cuda())
    assert (mask_on_device.cpu() == mask).float().mean() > 0.999  # a tie between two pixels may fall either way
    assert (on_device.cpu() - image).abs().mean() < 0.05


def test_senseless_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="scale is"):
        BatchAugment(crop=8, scale=(0.0, 1.0))


@pytest.mark.parametrize("padding", ["constant", "reflect"])
@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("options", [{}, {"scale": None, "rotate": 0.0}, {"scale": (0.4, 0.7)}, {"rotate": 180.0}])
def test_a_single_sample_is_that_of_a_batch(
    images: Tensor, masks: Tensor, padding: str, lines: bool, options: dict
) -> None:
    """Though it looks at the part of the image alone that is seen: a crop of 20, of 64x96."""
    augment = BatchAugment(crop=20, color=0.3, padding=padding, lines=lines, **options)
    masks = (masks == 1).to(torch.uint8) if lines else masks
    for seed, (image, mask) in enumerate(zip(images.repeat(4, 1, 1, 1), masks.repeat(4, 1, 1), strict=True)):
        torch.manual_seed(seed)
        single, single_mask = augment.single(image.float(), mask)
        torch.manual_seed(seed)
        whole, whole_mask = augment(image[None], mask[None], augment.draw(int(torch.randint(2**63 - 1, ())))[None])
        torch.testing.assert_close(single, whole[0], rtol=0, atol=0.05)
        assert (single_mask != whole_mask[0]).float().mean() <= 0.005  # where a nearest pixel is as near as the next
