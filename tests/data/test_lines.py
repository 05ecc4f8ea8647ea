"""Augmentation of thin lines: they stay whole when they are turned or made small, and are mirrored at the edges."""

import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from dla.data import BatchAugment, Scenes


def parameters(**changes: float) -> Tensor:
    names = ("scale", "angle", "mirror", "x", "y", "brightness", "contrast", "saturation")
    return torch.tensor([[changes.get(name, 0.5 if name in "xy" else float(name != "angle")) for name in names]])


def curve(size: int = 120) -> Tensor:
    """A closed line one pixel wide, of all directions: the edge of an ellipse, (1, size, size)."""
    rows, columns = torch.meshgrid(*2 * [torch.arange(size) - size / 2 + 0.5], indexing="ij")
    inside = (rows / (0.25 * size)) ** 2 + (columns / (0.4 * size)) ** 2 < 1
    return (inside & ~torch.from_numpy(ndimage.binary_erosion(inside))).to(torch.uint8)[None]


def turned(mask: Tensor, crop: int, *, lines: bool = True, **changes: float) -> Tensor:
    augment = BatchAugment(crop=crop, padding="reflect", lines=lines)
    return augment(mask[:, None].expand(-1, 3, -1, -1), mask, parameters(**changes))[1][0]


def pieces(line: Tensor) -> tuple[int, int]:
    """Of the line, whose diagonal neighbours are connected, and of what it parts, whose are not."""
    return ndimage.label(line == 1, torch.ones(3, 3))[1], ndimage.label(line != 1)[1]


@pytest.mark.parametrize("shift", [0.5, 0.47, 0.42])  # of the crop, so that pixels fall between those of the source
def test_a_turned_line_stays_whole(shift: float) -> None:
    source = curve()
    length = int(source.sum())
    torn = 0
    for angle in torch.linspace(-3.14, 3.14, 13).tolist():
        line = turned(source, 110, angle=angle, x=shift, y=shift)
        assert pieces(line) == (1, 2)
        assert length <= int(line.sum()) < 2 * length
        torn += pieces(turned(source, 110, lines=False, angle=angle, x=shift, y=shift)) != (1, 2)
    assert torn > 5  # what the nearest pixel would do


@pytest.mark.parametrize("scale", [0.5, 0.7, 1.5, 2.0])
def test_a_scaled_line_stays_whole(scale: float) -> None:
    for shift in (0.5, 0.45, 0.4):
        line = turned(curve(), round(120 * scale), scale=scale, angle=0.3, x=shift, y=shift)
        assert pieces(line) == (1, 2)


def test_lines_stay_where_they_are() -> None:
    """A boundary turned there and back covers what it was, and lies nowhere else but beside it."""
    source = curve()
    for angle in (0.4, 1.3, 2.9):
        back = turned(turned(source, 170, angle=angle)[None], 120, angle=-angle)
        near = F.max_pool2d(source.float(), 5, 1, 2)[0] > 0
        assert (back == 1)[source[0] == 1].float().mean() > 0.99
        assert near[back == 1].all()


def test_what_does_not_count_stays_beside_what_does() -> None:
    mask = curve()
    mask[0, 60:][mask[0, 60:] == 1] = 255  # the lower half of the line
    result = turned(mask, 110, angle=0.7)
    assert set(result.unique().tolist()) == {0, 1, 255}
    whole = turned(curve(), 110, angle=0.7)
    assert torch.equal(result != 0, whole == 1)
    assert abs(int((result == 1).sum()) / int((result == 255).sum()) - 1) < 0.1


def test_unturned_lines_are_left_as_they_are() -> None:
    mask = torch.randint(3, (1, 40, 50), generator=torch.Generator().manual_seed(0)) * 127 % 253
    mask = mask.where(mask < 2, 255).to(torch.uint8)
    assert torch.equal(turned(mask, 30), mask[0, 5:35, 10:40])
    assert torch.equal(turned(mask, 30, mirror=-1.0), mask[0, 5:35, 10:40].flip(1))


def test_reflection_mirrors_image_and_mask_alike() -> None:
    scene = Scenes(1, size=48).scene(0)
    image, mask = scene.image[None], scene.boundary[None].to(torch.uint8)
    augment = BatchAugment(crop=96, padding="reflect", lines=True)
    image_out, mask_out = augment(image, mask, parameters())
    ahead = torch.arange(-24, 72)
    mirrored = ahead.where(ahead >= 0, -1 - ahead)
    mirrored = mirrored.where(mirrored < 48, 95 - mirrored)
    torch.testing.assert_close(image_out, image[:, :, mirrored][..., mirrored].float(), rtol=0, atol=0.02)
    assert torch.equal(mask_out, mask[:, mirrored][..., mirrored])


def test_constant_padding_does_not_count() -> None:
    mask = curve(48)
    augment = BatchAugment(crop=64, padding="constant", lines=True)
    result = augment(mask[:, None].expand(-1, 3, -1, -1), mask, parameters())[1][0]
    assert torch.equal(result[8:56, 8:56], mask[0])
    assert (result == 255).sum() == 64**2 - 48**2


def test_reflection_serves_labels_of_many_classes() -> None:
    mask = Scenes(1, size=48)[0].mask[None].as_subclass(Tensor)
    augment = BatchAugment(crop=64, padding="reflect")
    result = augment(mask[:, None].expand(-1, 3, -1, -1), mask, parameters())[1][0]
    assert torch.equal(result[8:56, 8:56], mask[0])
    assert torch.equal(result[:8], result[8:16].flip(0))


def test_a_single_sample_is_augmented_as_in_a_batch_by_torchs_own_generator() -> None:
    scene = Scenes(1, size=48).scene(0)
    image, mask = scene.image, scene.boundary.to(torch.uint8)
    augment = BatchAugment(crop=40, rotate=180.0, color=0.3, padding="reflect", lines=True)
    torch.manual_seed(3)
    one, one_mask = augment.single(image, mask)
    assert (one.shape, one.dtype, one_mask.dtype) == ((3, 40, 40), torch.uint8, torch.uint8)
    torch.manual_seed(3)
    seed = int(torch.randint(2**63 - 1, ()))
    images, masks = augment(image[None], mask[None], augment.draw(seed)[None])
    assert (images[0] - one).abs().max() <= 0.5
    assert torch.equal(masks[0], one_mask)
    assert not torch.equal(augment.single(image, mask)[1], one_mask)


@pytest.mark.usefixtures("unchecked_shapes")  # with which the annotation refuses it before
def test_senseless_padding_is_named() -> None:
    with pytest.raises(ValueError, match="padding is 'wrap'; expected 'constant' or 'reflect'"):
        BatchAugment(crop=8, padding="wrap")  # type: ignore[arg-type]
