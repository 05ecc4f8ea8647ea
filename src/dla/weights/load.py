"""Weights from a file, the hub or a state dict into a model: strictly, so that nothing stays untrained unnoticed."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from dla.networks import unwrapped
from dla.weights.biases import biases_before_norms, without_biases
from dla.weights.centernet import expect_images
from dla.weights.heads import head_name, new_heads
from dla.weights.image_channels import for_channels, of_other_channels
from dla.weights.layouts import Layout, find_layout, further_stems
from dla.weights.official import check_upsampling
from dla.weights.report import LoadReport, WeightsError, shortened
from dla.weights.source import WRAPPERS, read_source, split_weights
from dla.weights.timm import to_ours

MISSING, UNKNOWN, DIFFERENT = "missing", "unknown", "of another shape or kind"
OPTIONS = "num_classes, in_chans and out_stride"
COUNTER = "num_batches_tracked"  # of batch norms; files from before torch 0.4.1 have none


def load_weights(
    model: nn.Module,
    source: Mapping[str, Any] | str | os.PathLike[str],
    *,
    new_head: bool | Collection[str] = False,
) -> LoadReport:
    """Load weights in any known layout, which is recognised by its names; every tensor must find its place.

    Known are the layouts of this library, of timm, of the authors' classifiers and segmentation networks, of
    CenterNet, FairMOT and CenterTrack (DLA-34), of vis4d (classifiers) and of mmdetection3d (DLA-34 and its decoder).
    A classifier's weights also fit the backbone of a dense predictor and a list of feature maps, and those of a network
    with a decoder fit the classifier that it stands on, and its maps. Those of any timm classifier fit it, it rewired,
    and a network that fuses its maps. Those of colour images fit a network of other `in_chans` by timm's rule, and
    those of one image a network of several, whose other stems stay as they are.

    Args:
        model: of `create_model`; also compiled, averaged, or in a wrapper of data-parallel training.
        source: a state dict, the name of a repository on the Hugging Face hub such as "timm/dla34.in1k", or the path of
            a .safetensors file, of a torch file with a state dict, or of a training checkpoint. Where the file's name
            ends in a hash, as in dla34-ba72cf86.pth, the file is compared with it.
        new_head: leave the model's head as it is, to train it for other classes; of several heads all, or only those
            named, as in ["hm"].

    Returns:
        What was loaded, ignored because nothing uses it, and left as it was. Print it.

    Raises:
        TypeError: `model` is no network, or `source` something else, such as a network.
        ValueError: `new_head` names a head that neither the model nor the weights have.
        WeightsError: tensors are missing, unknown, of another shape or kind, or hold what is no number, and the message
            names them; a .safetensors file cannot be read; a file is not what the hash in its name says; a repository
            cannot be reached; or the model is on the meta device.
        CheckpointError: a torch file cannot be read, or holds anything but tensors and plain values.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"the model comes first, then its weights: expected a network, not {type(model).__name__}")
    model = unwrapped(model)
    state = model.state_dict()
    if any(value.is_meta for value in state.values()):
        raise WeightsError(
            "the model is on the meta device, without memory for weights: give model.to_empty(device='cpu')"
        )
    given, beside = split_weights(source if isinstance(source, Mapping) else read_source(source), own=state)
    layout = find_layout(model, given)
    means = biases_before_norms(state, layout, given)
    colors = of_other_channels(state, layout.keys, given)
    report = _report(state, layout, new_head)
    stems = further_stems(model)
    new_stems = () if report.mapped.keys() & {*stems} else tuple(stems)
    report = replace(report, stems=new_stems, subtracted=tuple(means), adapted=tuple(colors), beside=beside)
    values = without_biases(_converted(model, layout, given), means)
    values |= {key: for_channels(values[key], state[layout.keys[key]]) for key in colors}
    expect_images(given, layout.keys)
    _check(model, layout, report, values)
    if "up.weight" in report.ignored:
        check_upsampling(model, given["up.weight"])
    model.load_state_dict({**state, **{ours: values[key] for ours, key in report.mapped.items()}})
    return report


def _report(state: Mapping[str, Tensor], layout: Layout, new_head: bool | Collection[str]) -> LoadReport:
    built = [key for key in state if key.startswith(layout.heads)]
    given = {key: head_name(layout.keys.get(key, key)) for key in layout.head if key not in layout.unused}
    new = new_heads(new_head, {*map(head_name, built), *given.values()})
    head = [key for key in built if key.startswith(layout.part) and head_name(key) in new]
    untouched = [key for key in state if not key.startswith(layout.part)]
    nodes = [key for key in state if key in layout.nodes]
    mapped = {ours: key for key, ours in layout.keys.items() if ours in state and ours not in head}
    replaced = [key for key, name in given.items() if name in new]
    ignored = dict.fromkeys([*replaced, *layout.unused, *_uncounted(state, layout)])
    return LoadReport(layout.name, mapped, tuple(ignored), tuple(head), tuple(untouched), tuple(nodes))


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


def _check(model: nn.Module, layout: Layout, report: LoadReport, values: Mapping[str, Any]) -> None:
    """Refuse weights that leave a part of the model untrained, or are not all used, and say what would help."""
    if not report.mapped and not layout.authors:
        raise WeightsError(
            f"the model has none of these names, nor has any layout known here: {shortened(list(values)) or '(none)'}. "
            f"Give the state dict of a network, alone or as {', '.join(WRAPPERS)} in a dictionary"
        )
    faults = _faults(model.state_dict(), report, values)
    lines = [f"{len(names)} {what}: {shortened(sorted(names))}" for what, names in faults.items() if names]
    if lines:
        options = "heads, head_channels, decoder and in_chans" if hasattr(model, "heads") else OPTIONS
        raise WeightsError(
            f"these weights do not fit the model ({'; '.join(lines)}). Their layout: {layout.name}. Create the model "
            f"that the weights are of, with its {options}{_alternatives(layout, faults)}"
        )


def _faults(state: Mapping[str, Tensor], report: LoadReport, values: Mapping[str, Any]) -> dict[str, list[str]]:
    """By kind: the model's names that get no weight, the weights' that have no place, and pairs that do not match."""
    counted = any(key.endswith(COUNTER) for key in values)
    filled = {*report.mapped, *report.reinitialised, *report.untouched, *report.nodes, *report.stems}
    taken = {*report.mapped.values(), *report.ignored, *report.subtracted}
    pairs = {ours: (values[key], state[ours]) for ours, key in report.mapped.items()}
    return {
        MISSING: [key for key in state if key not in filled and (counted or not key.endswith(COUNTER))],
        UNKNOWN: [key for key in values if key not in taken],
        DIFFERENT: [f"{ours} {found}" for ours, pair in pairs.items() if (found := _difference(*pair))],
    }


def _alternatives(layout: Layout, faults: Mapping[str, Sequence[str]]) -> str:
    """What may help in place of another model: a new head, or the backbone's weights alone."""
    own = (*faults[MISSING], *faults[DIFFERENT])
    unknown = [name for name in layout.head if name in faults[UNKNOWN]]
    head = backbone = ""
    if unknown or any(name.startswith(layout.heads) for name in own):
        head = "; or, for other classes, give new_head=True"
        if any(name.startswith("heads.") for name in layout.keys.values()):  # several, of which others may fit
            names = {head_name(layout.keys.get(name, name)) for name in unknown}
            names |= {head_name(name) for name in own if name.startswith("heads.")}
            head += f", or of these heads alone new_head={sorted(names)}"
    if layout.part == "" and any(name.startswith("decoder.") for name in faults[MISSING]):
        backbone = (
            "; or, where the decoder is another, give the backbone alone, as in load_weights(model.backbone, ...)"
        )
    return head + backbone


def _difference(given: Any, own: Tensor) -> str:
    """What keeps a value from taking the place of the model's own; nothing where it can."""
    if not isinstance(given, Tensor):
        return f"is a {type(given).__name__} and no tensor"
    if given.shape != own.shape:
        return f"{tuple(given.shape)} instead of {tuple(own.shape)}"
    if given.is_meta or given.is_quantized or given.layout != torch.strided:
        return "has no memory, or is quantised or sparse"
    if not own.is_floating_point():
        return ""  # a counter, of whatever type
    if not given.is_floating_point():
        return f"is in {given.dtype}"
    if given.to(own.dtype).isfinite().all():
        return ""
    same = given.dtype == own.dtype
    return "holds NaN or infinity" if same else f"holds NaN, infinity or numbers too large for {own.dtype}"
