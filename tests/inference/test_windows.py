"""Windows cover an image without seams, and their strips are what they give when the whole is blended at once."""

from itertools import pairwise, product

import pytest
import torch
from torch import nn

from dla.inference import predict_probabilities
from dla.inference.windows import axis_windows, window_logits


@pytest.mark.parametrize("length", [1, 31, 32, 33, 64, 100, 255])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.8])
def test_windows_cover_an_axis_evenly(length, overlap):
    windows = axis_windows(length, 32, overlap)
    total = torch.zeros(length, dtype=torch.float64)
    for place, weights in windows:
        assert place.stop - place.start == min(32, length)
        assert (weights > 0).all()
        total[place] += weights
    torch.testing.assert_close(total, torch.ones_like(total))
    for (first, _), (second, _) in pairwise(windows):
        assert first.stop - second.start >= 32 * overlap - 1e-9
    assert len(axis_windows(64, 32, 0.5)) == 3


@pytest.mark.parametrize(("window", "overlap"), [(32, 0.5), (17, 0.3), (20, 0.0), (33, 0.9), (200, 0.5)])
def test_strips_are_the_whole_blended_at_once(window, overlap):
    torch.manual_seed(0)
    model, images = nn.Conv2d(3, 4, 9, padding=4).eval(), torch.randn(2, 3, 83, 61)
    expected = torch.zeros(2, 4, 83, 61)
    for (rows, down), (columns, along) in product(*(axis_windows(side, window, overlap) for side in (83, 61))):
        expected[:, :, rows, columns] += model(images[:, :, rows, columns]) * torch.outer(down, along).float()
    with torch.no_grad():
        strips = list(window_logits(model, images, window, overlap))
    assert len(strips) == len(axis_windows(83, window, overlap))
    torch.testing.assert_close(torch.cat(strips, 2), expected)
    assert all(strip.untyped_storage().nbytes() == strip.nbytes for strip in strips)  # none keeps a row of windows


class WindowMean(nn.Module):
    """Disagrees with itself from window to window, as much as a model can that is constant in each."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return batch.mean((2, 3), keepdim=True).expand(-1, -1, *batch.shape[-2:])


def test_there_is_no_seam_between_windows_that_disagree():
    steps = torch.arange(96.0).div(24).floor().expand(1, 1, 96, 96)
    logits = torch.cat([steps, -steps], 1)
    blended = predict_probabilities(WindowMean().eval(), logits, window=48)
    assert blended.diff(dim=-1).abs().max() < 0.05  # two windows side by side would differ by 0.4
    assert blended.diff(dim=-2).abs().max() < 1e-5
