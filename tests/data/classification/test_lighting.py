"""The authors' colours: what Pillow, by which they were made, gives for the same factors; and light of ImageNet."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from torchvision import tv_tensors
from torchvision.transforms import v2

from dla.data.classification.lighting import COMPONENTS, SPREAD, Lighting, RandomSharpness, jittered


@pytest.fixture
def image() -> tv_tensors.Image:
    return tv_tensors.Image(torch.randint(256, (3, 19, 23), dtype=torch.uint8))


def test_components_are_orthonormal():
    matrix = torch.tensor(COMPONENTS)
    torch.testing.assert_close(matrix.T @ matrix, torch.eye(3), atol=2e-3, rtol=0)


def test_the_spread_is_the_root_of_the_published_eigenvalues():
    """For RGB values from 0 to 1."""
    torch.testing.assert_close(torch.tensor(SPREAD) / 255, torch.tensor([0.2175, 0.0188, 0.0045]), rtol=0, atol=5e-5)


def test_light_is_one_color_along_the_components():
    grey = tv_tensors.Image(torch.full((3, 2, 5), 128, dtype=torch.uint8))
    torch.manual_seed(0)
    colors = []
    for _ in range(2000):
        lit = Lighting(0.1)(grey)
        assert (lit.dtype, type(lit)) == (torch.uint8, tv_tensors.Image)
        assert (lit == lit[:, :1, :1]).all()
        colors.append(lit[:, 0, 0].float() - 128)
    colors = torch.stack(colors)
    along = colors @ torch.tensor(COMPONENTS)
    assert along.std(0)[0] == pytest.approx(0.1 * SPREAD[0], rel=0.06)
    assert along.std(0)[1] == pytest.approx((0.1**2 * SPREAD[1] ** 2 + 1 / 12) ** 0.5, rel=0.1)  # and rounding
    assert colors.mean().abs() < 0.5


@pytest.mark.parametrize("level", [0, 255])
def test_light_stays_within_the_levels(level):
    transform, image = Lighting(5.0), tv_tensors.Image(torch.full((3, 2, 2), level, dtype=torch.uint8))
    for seed in range(8):
        torch.manual_seed(seed)
        color = transform.make_params([])["color"]
        torch.manual_seed(seed)
        assert torch.equal(transform(image)[:, 0, 0].int(), (level + color.int()).clamp(0, 255))


def test_the_label_stays(image):
    label = torch.tensor(3)
    for transform in (Lighting(0.1), RandomSharpness(0.4), jittered(0.4)):
        changed, kept = transform(image, label)
        assert kept is label
        assert changed.shape == image.shape


def test_factors_are_those_of_pillow(image):
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    for kind, ours in (
        (ImageEnhance.Sharpness, v2.functional.adjust_sharpness),
        (ImageEnhance.Brightness, v2.functional.adjust_brightness),
        (ImageEnhance.Contrast, v2.functional.adjust_contrast),
    ):
        for factor in (0.6, 1.0, 1.4):
            theirs = torch.from_numpy(np.asarray(kind(picture).enhance(factor)).copy()).permute(2, 0, 1)
            assert (ours(image, factor).int() - theirs.int()).abs().max() <= 1  # they round differently


def test_sharpness_is_drawn_from_its_range(image):
    factors = torch.tensor([RandomSharpness(0.4).make_params([image])["factor"] for _ in range(500)])
    assert 0.6 <= factors.min() < 0.65
    assert 1.35 < factors.max() <= 1.4
    assert RandomSharpness(1.5).make_params([image])["factor"] >= 0


def test_jitter_changes_the_order(image):
    changed = {bytes(jittered(0.4)(image).numpy().tobytes()) for _ in range(5)}
    assert len(changed) == 5
    brightness, contrast, sharpness = jittered(0.4).transforms
    assert (brightness.brightness, brightness.contrast, contrast.brightness) == ((0.6, 1.4), None, None)
    assert (contrast.contrast, type(sharpness), sharpness.amount) == ((0.6, 1.4), RandomSharpness, 0.4)
