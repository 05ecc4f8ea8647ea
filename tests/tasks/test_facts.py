"""A checkpoint and the data that it meets: same task, network, classes and colours of images, or a reason."""

import pytest

from dla.tasks.facts import check_facts

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
