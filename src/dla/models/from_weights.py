"""A network for weights of another program: classes, heads and decoder are read from the weights."""

import os
from collections.abc import Mapping
from typing import Any

from torch import nn

from dla.models.zoo import create_model
from dla.weights import LoadReport, WeightsError, inferred_options, load_weights, read_source


def load_model(
    name: str, source: Mapping[str, Any] | str | os.PathLike[str], **options: Any
) -> tuple[nn.Module, LoadReport]:
    """The network of this name with the weights of a file, from which options that are not given are read.

        model, report = dla.load_model("dla34_centernet", "ctdet_coco_dla_2x.pth")

    Those are `in_chans`, `num_classes` of classifiers and dense predictors, and a detector's heads and decoder.

    Args:
        name: of `create_model`, without weights.
        source: as for `load_weights`.
        options: of `create_model`.

    Returns:
        The network, in evaluation mode, and what was loaded.

    Raises:
        ValueError: the name is unknown.
        WeightsError: see `load_weights`; or the weights leave a part untrained, such as those of a classifier the
            decoder of a dense predictor.
        CheckpointError: a torch file cannot be read, or holds anything but tensors and plain values.
    """
    given = source if isinstance(source, Mapping) else read_source(source)
    shown = inferred_options(create_model(name, **options), given)
    model = create_model(name, **{**shown, **options})
    report = load_weights(model, given)
    if untrained := (*report.untouched, *report.stems):
        what = "a dictionary of weights" if isinstance(source, Mapping) else os.fspath(source)
        raise WeightsError(
            f"{what} has none of {untrained[0]} and others, so that {name} would be half untrained: give the "
            "network that the weights are of, or create this one and train it"
        )
    return model.eval(), report
