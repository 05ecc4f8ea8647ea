"""Weights from a file, the hub or a state dict into a model: strictly, so that nothing stays untrained unnoticed."""

import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from dla.weights.layouts import Layout, find_layout
from dla.weights.official import check_upsampling
from dla.weights.report import LoadReport, WeightsError, shortened
from dla.weights.source import network_weights, read_source
from dla.weights.timm import to_ours

COUNTER = "num_batches_tracked"  # of batch norms; files from before torch 0.4.1 have none


def load_weights(
    model: nn.Module, source: Mapping[str, Any] | str | os.PathLike[str], *, new_head: bool = False
) -> LoadReport:
    """Load weights in any known layout, which is recognised by its names; every tensor must find its place.

    Known are the layouts of this library, of timm, of the authors' classifiers and segmentation networks, of CenterNet
    and FairMOT (DLA-34), of vis4d (classifiers) and of mmdetection3d (DLA-34 and its decoder). A classifier's weights
    also fit the backbone of a dense predictor and a list of feature maps.

    Args:
        model: of `create_model`.
        source: a state dict, the name of a repository on the Hugging Face hub such as "timm/dla34.in1k", or the path of
            a .safetensors file, of a torch file with a state dict, or of a training checkpoint. Where the file's name
            ends in a hash, as in dla34-ba72cf86.pth, the file is compared with it.
        new_head: leave the model's head as it is, to train it for other classes.

    Returns:
        What was loaded, ignored because nothing uses it, and left as it was. Print it.

    Raises:
        WeightsError: tensors are missing, unknown or of another shape, and the message names them; a .safetensors file
            cannot be read; a file is not what the hash in its name says; a repository cannot be reached.
        CheckpointError: a torch file cannot be read, or holds anything but tensors and plain values.
    """
    given = network_weights(source if isinstance(source, Mapping) else read_source(source))
    layout = find_layout(model, given)
    report = _report(model, layout, new_head)
    values = _converted(model, layout, given)
    _check(model, layout, report, values)
    if "up.weight" in report.ignored:
        check_upsampling(model, given["up.weight"])
    model.load_state_dict({**model.state_dict(), **{ours: values[key] for ours, key in report.mapped.items()}})
    return report


def _report(model: nn.Module, layout: Layout, new_head: bool) -> LoadReport:
    state = model.state_dict()
    head = [key for key in state if new_head and key.startswith(layout.part) and key.startswith(("head.", "heads."))]
    untouched = [key for key in state if not key.startswith(layout.part)]
    mapped = {ours: key for key, ours in layout.keys.items() if ours in state and ours not in head}
    ignored = dict.fromkeys([*layout.unused, *(layout.head if new_head else [])])
    return LoadReport(layout.name, mapped, tuple(ignored), tuple(head), tuple(untouched))


def _converted(model: nn.Module, layout: Layout, given: Mapping[str, Any]) -> dict[str, Any]:
    """The weights with the slices and shapes of our layout, by their own keys."""
    modules = dict(model.named_modules())
    result = dict(given)
    for key, authors in layout.authors.items():
        module = layout.keys.get(key, "").rpartition(".")[0].removesuffix(".conv")
        if isinstance(given[key], Tensor):
            result[key] = to_ours(authors.removeprefix("base."), given[key], modules.get(module, model))
    return result


def _check(model: nn.Module, layout: Layout, report: LoadReport, given: Mapping[str, Any]) -> None:
    state = model.state_dict()
    counted = any(key.endswith(COUNTER) for key in given)
    filled = {*report.mapped, *report.reinitialised, *report.untouched}
    missing = [key for key in state if key not in filled and (counted or not key.endswith(COUNTER))]
    unknown = given.keys() - set(report.mapped.values()) - set(report.ignored)
    shapes = {key: tuple(getattr(value, "shape", [])) for key, value in given.items()}
    differ = [
        f"{ours} {shapes[key]} instead of {tuple(state[ours].shape)}"
        for ours, key in report.mapped.items()
        if shapes[key] != tuple(state[ours].shape) or not isinstance(given[key], Tensor)
    ]
    faults = [("missing", missing), ("unknown", unknown), ("of another shape", differ)]
    lines = [f"{len(names)} {what}: {shortened(sorted(names))}" for what, names in faults if names]
    if lines:
        raise WeightsError(
            f"these weights do not fit the model ({'; '.join(lines)}). Their layout: {layout.name}. Create the model "
            "that the weights are of, with its num_classes, in_chans and out_stride; or, for other classes, give "
            "new_head=True"
        )
