"""Weights from a file or a state dict into a model: strictly, so that nothing stays untrained unnoticed."""

import os
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from dla.weights.timm import from_timm, is_timm


class WeightsError(ValueError):
    """The weights do not fit the model, or the file cannot be read."""


def load_weights(
    model: nn.Module, weights: Mapping[str, Tensor] | str | os.PathLike[str], *, new_head: bool = False
) -> None:
    """Load weights in this library's layout or in that of timm's DLA classifiers; every key must find its place.

    A classifier's weights also fit the backbone of a dense predictor and a list of feature maps. Of such weights the
    head and the last stages are left out where the model was built without them; nothing else ever is.

    Args:
        model: of `create_model`.
        weights: a state dict, or the path of a .safetensors file, of a torch file with a state dict, or of a checkpoint
            that `dla fit` wrote.
        new_head: leave the model's head as it is, to train it for other classes.

    Raises:
        WeightsError: keys are missing or unknown, or shapes differ, and the message names them; or a .safetensors file
            cannot be read.
        CheckpointError: a torch file cannot be read, or holds anything but tensors and plain values.
    """
    state = weights if isinstance(weights, Mapping) else _read(os.fspath(weights))
    if is_timm(state) or "stem.0.0.weight" in state:  # a classifier's
        model = getattr(model, "backbone", model)
        model = getattr(model, "body", model)
        state = from_timm(model, state) if is_timm(state) else state
        state = {key: value for key, value in state.items() if not _lacks(model, key)}
    if new_head:
        kept = {key: value for key, value in model.state_dict().items() if key.startswith("head.")}
        state = {**state, **kept}
    _check(model.state_dict(), state)
    model.load_state_dict(state)


def _lacks(model: nn.Module, key: str) -> bool:
    """Whether the model was built without this part of a classifier: its head, or one of its last stages."""
    stage = re.match(r"(?:stages\.|level)(\d+)\.", key)
    part = f"stages.{stage[1]}." if stage else "head."
    return (stage is not None or key.startswith(part)) and not any(k.startswith(part) for k in model.state_dict())


def _read(path: str) -> Mapping[str, Tensor]:
    if not path.endswith(".safetensors"):
        from dla.checkpoint import read_checkpoint

        return network_weights(read_checkpoint(path))
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} cannot be read as weights ({error}): check the path, or download it again"
        ) from None


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
            "with its num_classes and in_chans; or, for other classes, give new_head=True"
        )
