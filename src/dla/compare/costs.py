"""What a row costs, counted before anything is trained, and the widths at which rows cost the same."""

from bisect import bisect_left
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dla.backbones.probe import FAILURES
from dla.compare.study import Row, Study
from dla.costs import macs, parameters, recomputes, training_memory
from dla.models import create_model
from dla.models.options import given_channels
from dla.names import parse
from dla.weights import completed_options

STEP = 1e-4  # widths are multiples of it


class Costs(NamedTuple):
    """Of one row.

    Attributes:
        parameters: Learned numbers.
        macs: Multiply-accumulates over one image.
        memory: Bytes an image that a training step needs beside parameters and gradients, in float32.
        recomputes: Whether that is little because cheap results are computed again.
    """

    parameters: int
    macs: int
    memory: float
    recomputes: bool


def costs(row: Row, study: Study) -> Costs:
    """Count what the row's network costs at the study's image size; memory takes seconds.

    Raises:
        ValueError: the network cannot be built, does not take the study's images, or does not give what the task
            of the study asks for.
    """
    size = (study.image_size, study.image_size)
    with torch.device("meta"):  # counted, not computed
        model = _build(row, study)
        _expect_logits(row, model, study)
        model.eval()
        counted = parameters(model), macs(model, size)
    memory = training_memory(partial(_build, row, study), size, in_chans=given_channels(row.options))
    return Costs(*counted, memory, recomputes(model))


def _expect_logits(row: Row, model: nn.Module, study: Study) -> None:
    size = (study.image_size, study.image_size)
    images, dense = torch.zeros(2, given_channels(row.options), *size), study.measure.dense
    expected = (2, study.classes, *size) if dense else (2, study.classes)
    try:
        with torch.no_grad():
            out = model.train()(images)
    except FAILURES as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"row {row.name}: {row.network} fails on images {tuple(images.shape)}: {reason}") from error
    what = tuple(out.shape) if isinstance(out, Tensor) else f"a {type(out).__name__}"
    if what != expected:
        if dense:
            remedy = "name a dense predictor such as dla34up or NAME+ida"
        elif parse(row.network).structure:
            remedy = "give it options: {head: classifier}"
        else:
            remedy = "name a classifier such as dla34"
        raise ValueError(
            f"row {row.name}: {row.network} gives {what} of two images in training where logits {expected} were "
            f"expected by the study's task: {remedy}, without features_only"
        )


def matched(study: Study) -> Study:
    """The study with the widths found at which each row has the parameters of the row that `match` names.

    Raises:
        ValueError: a row does not come near enough at any width from half to twice that row's, or has none.
    """
    if study.match is None:
        return study
    (reference,) = [row for row in study.rows if row.name == study.match.row]
    target, start = _count(reference, study), reference.options.get("width", 1.0)
    rows = []
    for row in study.rows:
        if row.name != reference.name:
            named = parse(row.network)
            if named.library or named.structure:
                raise ValueError(
                    f"row {row.name}: {row.network} has no width to search, by which match fits classifiers of ours "
                    "alone, such as dla34: leave out the row, or match"
                )
            width = matched_width(lambda width, row=row: _count(_wide(row, width), study), target, start)  # type: ignore[misc]
            row = _wide(row, width)
        off = _count(row, study) / target - 1
        if abs(off) > study.match.tolerance:
            raise ValueError(
                f"row {row.name} has {off:+.1%} of the parameters of {reference.name} at best, at width "
                f"{row.options['width']}; match.tolerance is {study.match.tolerance:.0%}, and widths from "
                f"{start / 2:g} to {2 * start:g} are searched, half and twice that of {reference.name}"
            )
        rows.append(row)
    return study._replace(rows=tuple(rows))


def matched_width(count: Callable[[float], int], target: int, start: float) -> float:
    """The width, a multiple of 0.0001 between half of `start` and twice, at which `count` comes nearest to `target`.

    `count` must not fall with the width; it rises in steps, since channels are whole numbers.
    """
    low, high = round(start / 2 / STEP), round(2 * start / STEP)
    above = bisect_left(range(high), target, lo=low + 1, key=lambda steps: count(_width(steps)))
    return min((_width(above - 1), _width(above)), key=lambda width: abs(count(width) - target))


def _width(steps: int) -> float:
    return round(steps * STEP, 4)


def _wide(row: Row, width: float) -> Row:
    return row._replace(options={**row.options, "width": width})


def _count(row: Row, study: Study) -> int:
    with torch.device("meta"):
        return parameters(_build(row, study))


def _build(row: Row, study: Study) -> Any:
    """The row's network, with what the task says of its memory, as the task builds it."""
    task = study.model["init_args"]
    options = {"memory_efficient": task.get("memory_efficient"), **completed_options(row.network, row.options)}
    try:
        model: Any = create_model(row.network, num_classes=study.classes, **options)
        if task.get("grad_checkpointing") and hasattr(model, "set_grad_checkpointing"):  # else the run says it cannot
            model.set_grad_checkpointing()
    except (ValueError, TypeError, AssertionError) as error:  # the last from timm's models that cannot checkpoint
        raise ValueError(f"row {row.name}: {error}") from error
    return model
