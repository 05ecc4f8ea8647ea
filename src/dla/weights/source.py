"""Weights from a file: whole, of tensors alone, checked against the hash in its name, and out of their wrappers."""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from dla.weights.hub import download, is_hub_name
from dla.weights.report import WeightsError


def read_source(source: str | os.PathLike[str]) -> Mapping[str, Any]:
    """What a file or a repository of the Hugging Face hub holds, as it is there; see `load_weights`."""
    name = os.fspath(source)
    path = download(name) if is_hub_name(name) else name
    return _safetensors(path) if path.endswith(".safetensors") else _checkpoint(path)


def _checkpoint(path: str) -> Mapping[str, Any]:
    from dla.checkpoint import read_checkpoint

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

    Raises:
        WeightsError: they differ.
    """
    named = re.search(r"-([0-9a-f]{8,64})\.\w+$", Path(path).name)
    if not named:
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


def network_weights(checkpoint: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """The network's part of a training checkpoint's weights, without what wrappers put before its names.

    That is `model.` in this library's tasks, beside which nothing is taken, and `module.` in data-parallel training.

    Raises:
        WeightsError: these are no weights, since their keys are no names.
    """
    wrapped = isinstance(checkpoint.get("state_dict"), Mapping)
    state = checkpoint["state_dict"] if wrapped else checkpoint
    odd = [key for key in state if not isinstance(key, str)]
    if odd:
        raise WeightsError(f"weights have names as keys, and not {odd[0]!r}: give the state dict of a network")
    if wrapped and any(key.startswith("model.") for key in state):
        state = {key: value for key, value in state.items() if key.startswith("model.")}
    for prefix in ("model.",) * wrapped + ("module.",):
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state
