"""Weights from a file or a state dict into a model: strictly, so that nothing stays untrained unnoticed."""

import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from dla.weights.timm import from_timm, is_timm


class WeightsError(ValueError):
    """The weights do not fit the model, or the file cannot be read."""


def load_weights(model: nn.Module, weights: Mapping[str, Tensor] | str | os.PathLike[str]) -> None:
    """Load weights in this library's layout or in that of timm's DLA classifiers; every key must find its place.

    A classifier's weights also fit the backbone of a dense predictor and a list of feature maps. Where the model has
    no classifier, the weights' is left out; nothing else ever is.

    Args:
        model: of `create_model`.
        weights: a state dict, or the path of a .safetensors file, of a torch file with a state dict, or of a checkpoint
            that `dla fit` wrote.

    Raises:
        WeightsError: keys are missing or unknown, or shapes differ; the message names them.
    """
    state = weights if isinstance(weights, Mapping) else _read(os.fspath(weights))
    if is_timm(state):
        model = getattr(model, "backbone", model)
        model = getattr(model, "body", model)
        state = from_timm(model, state)
        if "head.fc.weight" not in model.state_dict():
            state = {key: value for key, value in state.items() if not key.startswith("head.fc.")}
    _check(model.state_dict(), state)
    model.load_state_dict(state)


def _read(path: str) -> Mapping[str, Tensor]:
    if path.endswith(".safetensors"):
        from safetensors.torch import load_file

        return load_file(path)
    from dla.checkpoint import read_checkpoint

    return network_weights(read_checkpoint(path))


def network_weights(checkpoint: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """The network's part of a training checkpoint's weights; a bare state dict is returned as it is."""
    if not isinstance(checkpoint.get("state_dict"), Mapping):
        return checkpoint
    state, prefix = checkpoint["state_dict"], "model."
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _check(expected: Mapping[str, Tensor], given: Mapping[str, Any]) -> None:
    missing = sorted(expected.keys() - given.keys())
    unknown = sorted(given.keys() - expected.keys())
    shapes = {key: tuple(getattr(value, "shape", [])) for key, value in given.items()}
    differ = [
        f"{key} {shapes[key]} instead of {tuple(expected[key].shape)}"
        for key in sorted(expected.keys() & given.keys())
        if shapes[key] != tuple(expected[key].shape) or not isinstance(given[key], Tensor)
    ]
    faults = [("missing", missing), ("unknown", unknown), ("of another shape", differ)]
    lines = [
        f"{len(keys)} {what}: {', '.join(keys[:5])}{', ...' if len(keys) > 5 else ''}" for what, keys in faults if keys
    ]
    if lines:
        raise WeightsError(
            f"these weights do not fit the model ({'; '.join(lines)}). Create the model that the weights are of, "
            "with its num_classes and in_chans"
        )
