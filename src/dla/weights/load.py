"""Weights from a file, the hub or a state dict into a model: strictly, so that nothing stays untrained unnoticed."""

import os
from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dla.weights.heads import PREFIXES, head_name, new_heads
from dla.weights.layouts import Layout, find_layout
from dla.weights.official import check_upsampling
from dla.weights.report import LoadReport, WeightsError, shortened
from dla.weights.source import WRAPPERS, network_weights, read_source
from dla.weights.timm import to_ours

COUNTER = "num_batches_tracked"  # of batch norms; files from before torch 0.4.1 have none


def load_weights(
    model: nn.Module,
    source: Mapping[str, Any] | str | os.PathLike[str],
    *,
    new_head: bool | Collection[str] = False,
) -> LoadReport:
    """Load weights in any known layout, which is recognised by its names; every tensor must find its place.

    Known are the layouts of this library, of timm, of the authors' classifiers and segmentation networks, of CenterNet
    and FairMOT (DLA-34), of vis4d (classifiers) and of mmdetection3d (DLA-34 and its decoder). A classifier's weights
    also fit the backbone of a dense predictor and a list of feature maps, and those of a network with a decoder fit
    the classifier that it stands on, and its maps.

    Args:
        model: of `create_model`; also compiled, or in a wrapper of data-parallel training.
        source: a state dict, the name of a repository on the Hugging Face hub such as "timm/dla34.in1k", or the path of
            a .safetensors file, of a torch file with a state dict, or of a training checkpoint. Where the file's name
            ends in a hash, as in dla34-ba72cf86.pth, the file is compared with it.
        new_head: leave the model's head as it is, to train it for other classes; of several heads all, or only those
            named, as in ["hm"].

    Returns:
        What was loaded, ignored because nothing uses it, and left as it was. Print it.

    Raises:
        ValueError: `new_head` names a head that neither the model nor the weights have.
        WeightsError: tensors are missing, unknown or of another shape, and the message names them; a .safetensors file
            cannot be read; a file is not what the hash in its name says; a repository cannot be reached.
        CheckpointError: a torch file cannot be read, or holds anything but tensors and plain values.
    """
    model = _unwrapped(model)
    given = network_weights(source if isinstance(source, Mapping) else read_source(source), own=model.state_dict())
    layout = find_layout(model, given)
    report = _report(model, layout, new_head)
    values = _converted(model, layout, given)
    _check(model, layout, report, values)
    if "up.weight" in report.ignored:
        check_upsampling(model, given["up.weight"])
    model.load_state_dict({**model.state_dict(), **{ours: values[key] for ours, key in report.mapped.items()}})
    return report


def _unwrapped(model: nn.Module) -> nn.Module:
    """The network within what compiles it, what trains it on several devices, or both."""
    parallel = isinstance(model, nn.DataParallel | DistributedDataParallel)
    inner = getattr(model, "module" if parallel else "_orig_mod", None)
    return _unwrapped(inner) if isinstance(inner, nn.Module) else model


def _report(model: nn.Module, layout: Layout, new_head: bool | Collection[str]) -> LoadReport:
    state = model.state_dict()
    built = [key for key in state if key.startswith(PREFIXES)]
    given = {key: head_name(layout.keys.get(key, key)) for key in layout.head if key not in layout.unused}
    new = new_heads(new_head, {*map(head_name, built), *given.values()})
    head = [key for key in built if key.startswith(layout.part) and head_name(key) in new]
    untouched = [key for key in state if not key.startswith(layout.part)]
    mapped = {ours: key for key, ours in layout.keys.items() if ours in state and ours not in head}
    replaced = [key for key, name in given.items() if name in new]
    ignored = dict.fromkeys([*layout.unused, *replaced, *_uncounted(state, layout)])
    return LoadReport(layout.name, mapped, tuple(ignored), tuple(head), tuple(untouched))


def _uncounted(state: Mapping[str, Tensor], layout: Layout) -> list[str]:
    """Counters of norms that have statistics in the model and count no batches there, since they are fixed."""
    return [
        key
        for key, ours in layout.keys.items()
        if key.endswith(COUNTER) and ours not in state and ours.replace(COUNTER, "running_mean") in state
    ]


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
    if not report.mapped and not layout.authors:
        raise WeightsError(
            f"the model has none of these names, nor has any layout known here: {shortened(list(given)) or '(none)'}. "
            f"Give the state dict of a network, alone or as {', '.join(WRAPPERS)} in a dictionary"
        )
    if lines:
        raise WeightsError(
            f"these weights do not fit the model ({'; '.join(lines)}). Their layout: {layout.name}. Create the model "
            "that the weights are of, with its num_classes, in_chans and out_stride; or, for other classes, give "
            "new_head=True"
        )
