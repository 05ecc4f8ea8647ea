"""A checkpoint and the data that it meets: same task, network, classes and colours of images, or a reason."""

import pytest
import torch

from dla.tasks.facts import check_facts, slow_precision

FACTS = {
    "task": "segmentation",
    "model": "dla34up",
    "classes": ["road", "sky"],
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}


@pytest.mark.parametrize("there", [FACTS, {}, {"model": "dla34up"}, FACTS | {"mean": [0.4851, 0.456, 0.406]}])
def test_what_agrees_or_is_not_said_passes(there):
    check_facts(there, FACTS)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            {"task": "boundaries"},
            "the checkpoint's task is boundaries, and this run's segmentation: give another --mod",
        ),
        ({"model": "dla60up"}, "the checkpoint's model is dla60up, and this run's dla34up: give another --model.netw"),
        ({"classes": ["sky", "road"]}, "class 0 is 'sky' in the checkpoint and 'road' in the data: give data with"),
        ({"classes": ["road"]}, "1 classes and the data 2; class 1 is missing in the checkpoint and 'sky' in the"),
        ({"mean": [0.5, 0.5, 0.5]}, r"normalised with the mean \[0.5, 0.5, 0.5\], and the data's are with \[0.485"),
        ({"std": [0.3, 0.2, 0.2]}, "with the std"),
    ],
)
def test_what_differs_is_named(other, message):
    with pytest.raises(ValueError, match=message):
        check_facts(FACTS | other, FACTS)


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
    monkeypatch.setattr("dla.tasks.facts.has_bfloat16", lambda: has)
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
