"""A precision that a processor or a GPU does not have is said to be slow."""

import pytest
import torch

from dla.tasks.precision import slow_precision


@pytest.mark.parametrize(
    ("precision", "device", "has", "slow"),
    [
        ("bf16-mixed", "cpu", False, True),
        ("bf16-true", "cpu", False, True),
        ("bf16-mixed", "cpu", True, False),
        ("32-true", "cpu", False, False),
    ],
)
def test_a_processor_without_bfloat16_is_said_to_be_slow_in_it(precision, device, has, slow, monkeypatch):
    monkeypatch.setattr("dla.tasks.precision.has_bfloat16", lambda: has)
    said = slow_precision(precision, torch.device(device)) or ""
    assert ("several times as long as float32: --trainer.precision=32-true is quicker here" in said) == slow
    assert bool(said) == slow


@pytest.mark.parametrize(
    ("precision", "has", "slow"), [("bf16-mixed", False, True), ("bf16-mixed", True, False), ("16-mixed", False, False)]
)
def test_a_gpu_without_bfloat16_is_said_to_imitate_it(precision, has, slow, monkeypatch):
    """A T4 or V100 does, of which torch says that it supports bfloat16 unless asked for more than an imitation."""
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation=True: has or including_emulation)
    said = slow_precision(precision, torch.device("cuda")) or ""
    assert ("this GPU has no bfloat16, which bf16-mixed imitates: --trainer.precision=16-mixed is" in said) == slow
