"""Learning rates by epoch, as the authors' recipes have them."""

import pytest

from dla.tasks.schedules import rate_factor


def test_poly_falls_to_zero_at_the_end():
    assert rate_factor(0, 500) == 1
    assert rate_factor(250, 500) == pytest.approx(0.5**0.9)
    assert 0 < rate_factor(499, 500) < 0.01


def test_step_falls_by_gamma_at_each_milestone():
    factors = [rate_factor(e, 1200, schedule="step", milestones=[800, 1000]) for e in (0, 799, 800, 999, 1000, 1199)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_warmup_rises_to_the_schedule():
    factors = [rate_factor(e, 10, schedule="constant", warmup=4) for e in range(6)]
    assert factors == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])
