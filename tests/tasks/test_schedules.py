"""Learning rates by epoch, as the authors' recipes have them."""

import pytest

from dla.tasks import ClassificationTask
from dla.tasks.schedules import rate_factor


@pytest.mark.usefixtures("unchecked_shapes")  # with which the annotation refuses it before
def test_an_unknown_schedule_is_named_before_the_network_is_built():
    with pytest.raises(ValueError, match="schedule is 'linear'; expected one of poly, cosine, step, constant"):
        ClassificationTask(network="none", num_classes=3, schedule="linear")


def test_poly_falls_to_zero_at_the_end():
    assert rate_factor(0, 500) == 1
    assert rate_factor(250, 500) == pytest.approx(0.5**0.9)
    assert 0 < rate_factor(499, 500) < 0.01


def test_cosine_is_half_a_wave():
    assert [rate_factor(e, 8, schedule="cosine") for e in (0, 2, 4, 6)] == pytest.approx([1, 0.8535534, 0.5, 0.1464466])
    assert 0 < rate_factor(299, 300, schedule="cosine") < 1e-4


@pytest.mark.parametrize("schedule", ["poly", "cosine"])
def test_what_falls_to_the_last_epoch_needs_one(schedule):
    with pytest.raises(
        ValueError, match=f"the {schedule} schedule ends with the last epoch: give --trainer.max_epochs"
    ):
        rate_factor(0, -1, schedule=schedule)


def test_step_falls_by_gamma_at_each_milestone():
    factors = [rate_factor(e, 1200, schedule="step", milestones=[800, 1000]) for e in (0, 799, 800, 999, 1000, 1199)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_warmup_rises_to_the_schedule():
    factors = [rate_factor(e, 10, schedule="constant", warmup=4) for e in range(6)]
    assert factors == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])
