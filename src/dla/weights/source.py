"""Weights from a file: whole, of tensors alone, checked against the hash in its name, and out of their wrappers."""

import hashlib
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from dla.weights.checkpoint import read_checkpoint
from dla.weights.hub import check_path, download, is_hub_name
from dla.weights.packaged import packaged
from dla.weights.report import WeightsError

WRAPPERS = ("state_dict", "model_state_dict", "model")  # in what training programs call a network's weights
PREFIXES = ("model.", "module.", "_orig_mod.")
COUNT = "n_averaged"  # beside the names of `torch.optim.swa_utils.AveragedModel`


def read_source(source: str | os.PathLike[str]) -> Mapping[str, Any]:
    """What a file or a repository of the Hugging Face hub holds, as it is there; see `load_weights`.

    Raises:
        TypeError: `source` names neither.
    """
    if not isinstance(source, str | os.PathLike):
        raise TypeError(
            f"weights are a state dict, a path or a name of the hub, not {type(source).__name__}: of a network, give "
            "its state_dict()"
        )
    name = os.fspath(source)
    if not Path(name).exists() and name in packaged():
        raise WeightsError(
            f"{name} is no file, but a network with its weights: dla.create_model({name!r}, pretrained=True), or in "
            f"`dla fit` --model.network {name}"
        )
    if is_hub_name(name):
        name = download(name)
    else:
        check_path(name)
    return _safetensors(name) if name.endswith(".safetensors") else _checkpoint(name)


def _checkpoint(path: str) -> Mapping[str, Any]:
    if Path(path).is_file():
        check_hash(path)
    return read_checkpoint(path)


def _safetensors(path: str) -> Mapping[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        check_hash(path)
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} cannot be read as weights ({error}): check the path, or download it again"
        ) from None


def check_hash(path: str) -> None:
    """Compare a file with the start of its SHA-256 where its name ends in one, as in dla34-ba72cf86.pth.

    Digits alone are taken for a date or a step.

    Raises:
        WeightsError: they differ.
    """
    named = re.search(r"-([0-9a-f]{8,64})\.\w+$", Path(path).name)
    if not named or named[1].isdigit():
        return
    with Path(path).open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    if not digest.hexdigest().startswith(named[1]):
        raise WeightsError(
            f"{path} is not what its name says, its SHA-256 starts with {digest.hexdigest()[: len(named[1])]}: "
            f"download it again, or rename it if {named[1]} is no hash"
        )


def split_weights(
    checkpoint: Mapping[str, Any], own: Collection[str] = ()
) -> tuple[Mapping[str, Tensor], tuple[str, ...]]:
    """The network's part of a checkpoint's weights, without what wrappers put before its names; and what is beside it.

    That is `model.` in Lightning's tasks, beside which nothing is taken, `module.` in data-parallel training and in
    averages of weights, and `_orig_mod.` of what was compiled, in any order.

    Args:
        checkpoint: a state dict, alone or as one of `WRAPPERS`.
        own: names of the network, where it is known; they stay as they are, even if they start like that.

    Raises:
        WeightsError: these are no weights, since their keys are no names.
    """
    wrapper = next((name for name in WRAPPERS if isinstance(checkpoint.get(name), Mapping)), None)
    state, beside = checkpoint[wrapper] if wrapper else checkpoint, list[str]()
    if wrapper:  # averages of weights, for one
        beside += [str(name) for name, part in checkpoint.items() if name != wrapper and _holds_weights(part)]
    odd = [key for key in state if not isinstance(key, str)]
    if odd:
        raise WeightsError(f"weights have names as keys, and not {odd[0]!r}: give the state dict of a network")
    while not any(key in own for key in state) and (prefix := _prefix(state, wrapper is not None)):
        beside += [key for key in state if not key.startswith(prefix)]
        state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    return state, tuple(beside)


def _holds_weights(part: Any) -> bool:
    return isinstance(part, Mapping) and bool(part) and all(isinstance(value, Tensor) for value in part.values())


def _prefix(state: Collection[str], wrapped: bool) -> str:
    """What a wrapper put before all names; in a checkpoint, also the task's `model.` before some of them."""
    names = [key for key in state if key != COUNT]
    common = (prefix for prefix in PREFIXES if names and all(key.startswith(prefix) for key in names))
    task = "model." if wrapped and any(key.startswith("model.") for key in state) else ""
    return next(common, task)
