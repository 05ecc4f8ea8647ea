"""Thinning: parity with scikit-image's, which is another writing of the same algorithm, and what it keeps."""

import numpy as np
import pytest
from scipy.ndimage import label
from skimage.morphology import thin as reference

from dla.metrics.boundary.thinning import thin

EVERYWHERE = np.ones((3, 3), dtype=int)


def blobs(seed: int, shape: tuple[int, int], share: float) -> np.ndarray:
    """Noise, grown a little, so that parts of many widths and holes of all kinds are there."""
    noise = np.random.default_rng(seed).random(shape) < share
    return noise | np.roll(noise, 1, 0) | np.roll(noise, 1, 1) | np.roll(noise, (2, -1), (0, 1))


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.6])
@pytest.mark.parametrize("shape", [(61, 83), (1, 40), (40, 1), (2, 3), (37, 5)])
def test_equals_the_reference(shape, share):
    for seed in range(20):
        image = blobs(seed, shape, share)
        np.testing.assert_array_equal(thin(image), reference(image))


def test_all_neighbourhoods_of_one_pixel():
    for code in range(512):
        image = (code >> np.arange(9) & 1).astype(bool).reshape(3, 3)
        np.testing.assert_array_equal(thin(image), reference(image), err_msg=str(code))


def test_parts_and_holes_stay_and_nothing_is_added():
    image = blobs(0, (90, 70), 0.08)
    thinned = thin(image)
    assert not (thinned & ~image).any()
    assert label(thinned, EVERYWHERE)[1] == label(image, EVERYWHERE)[1]
    assert label(~np.pad(thinned, 1))[1] == label(~np.pad(image, 1))[1]
    assert thin(thinned).sum() == thinned.sum()


def test_a_full_map_and_an_empty_one():
    assert thin(np.ones((30, 40), dtype=bool)).sum() == reference(np.ones((30, 40), dtype=bool)).sum() > 0
    assert not thin(np.zeros((30, 40), dtype=bool)).any()
    assert thin(np.zeros((0, 4), dtype=bool)).shape == (0, 4)
