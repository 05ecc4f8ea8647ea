"""Reads checkpoints of tensors and plain values; whatever else is in a file is refused and never run."""

import zipfile
from collections import Counter, OrderedDict
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

PLAIN_VALUES = frozenset({type(None), bool, int, float, str, bytes})
# `Counter` holds the milestones of `torch.optim.lr_scheduler.MultiStepLR`.
MAPPINGS = frozenset({dict, OrderedDict, Counter})
SEQUENCES = frozenset({list, tuple})
TENSORS = frozenset({torch.Tensor, torch.nn.Parameter})

ZIP_START = b"PK\x03\x04"
# Before version 1.6 torch wrote a bare pickle that opens with this number; the authors' weights are such files.
LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
AGAIN = "copy or download it again, or use an earlier checkpoint"


class CheckpointError(ValueError):
    """A file that is no whole checkpoint of tensors and plain values; the message names it and the remedy."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint written by `torch.save` or by Lightning, with all tensors on the CPU.

    The result holds nothing but tensors, None, bool, int, float, str, bytes, and lists, tuples and dictionaries of
    them. Classes and functions named in the file are neither imported nor called.

    Raises:
        CheckpointError: the file is missing, empty, cut short, damaged or no checkpoint, or it holds anything else.
    """
    path = Path(path)
    _check_file(path)
    # Read into memory and not mapped: training overwrites `last.ckpt`, and reading a mapped file that has become
    # shorter kills the process.
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise CheckpointError(_unsafe_message(path)) from error
    except Exception as error:  # a damaged pickle can fail in any way
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{path} cannot be read as a checkpoint ({reason}): {AGAIN}") from error
    if type(checkpoint) not in MAPPINGS:
        raise CheckpointError(
            f"{path} holds a {_type_name(checkpoint)} where a dictionary was expected: "
            "save a dictionary, for example torch.save(model.state_dict(), path)"
        )
    _check_plain(path, checkpoint)
    return checkpoint


def _check_file(path: Path) -> None:
    """Refuse what can be seen to be no whole checkpoint before any of it is unpickled."""
    if path.is_dir():
        inside = sorted([*path.glob("*.ckpt"), *path.glob("checkpoints/*.ckpt")])
        example = f", for example {inside[0]}" if inside else ""
        raise CheckpointError(f"{path} is a folder, not a checkpoint: name a file in it{example}")
    try:
        with path.open("rb") as file:
            start = file.read(len(LEGACY_START))
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no file {path}: check the path") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be opened ({error.strerror}): check its permissions") from error
    if not start:
        raise CheckpointError(f"{path} is empty, its writing was cut short: {AGAIN}")
    if start.startswith(ZIP_START):
        _check_archive(path)
    elif start[8:9] == b"{":
        raise CheckpointError(
            f"{path} is a file of safetensors, weights alone: load them by dla.load_weights, or by --model.weights"
        )
    elif start != LEGACY_START:
        raise CheckpointError(f"{path} is not a checkpoint, it starts with {start!r}: name a file from torch.save")


def _check_archive(path: Path) -> None:
    """Refuse a zip archive that is cut short, damaged or not torch's; torch itself does not compare the checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.rpartition("/")[2] for name in archive.namelist()}
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError) as error:
        raise CheckpointError(f"{path} is cut short, the end of its archive is missing: {AGAIN}") from error
    if damaged is not None:
        raise CheckpointError(f"{path} is damaged, {damaged} in it does not match its checksum: {AGAIN}")
    if "data.pkl" not in names or "constants.pkl" in names:  # the second is in TorchScript programs alone
        raise CheckpointError(f"{path} is an archive but not a checkpoint: name a file from torch.save")


def _unsafe_message(path: Path) -> str:
    """What to say of a pickle that asks for more than tensors and plain values."""
    found = torch.serialization.get_unsafe_globals_in_checkpoint(path) if zipfile.is_zipfile(path) else []
    names = f" ({', '.join(sorted(found))})" if found else ""
    return (
        f"{path} holds objects other than tensors and plain values{names}, which could run code, so nothing of it was "
        "loaded: save it again with such values alone, by torch.save(model.state_dict(), path), or, if you trust "
        "whoever made it, give dla.load_weights what torch.load(path, weights_only=False) reads"
    )


def _check_plain(path: Path, checkpoint: object) -> None:
    """Refuse the classes that `weights_only` admits and we do not, such as dtypes, devices, sets and functions."""
    pending = [("checkpoint", checkpoint)]
    seen = set()  # a pickle may contain itself
    while pending:
        name, value = pending.pop()
        if type(value) in PLAIN_VALUES or id(value) in seen:
            continue
        if type(value) not in MAPPINGS | SEQUENCES | TENSORS:
            raise CheckpointError(
                f"{path} holds a {_type_name(value)} at {name}, where tensors and plain values alone are accepted: "
                "remove the entry or store it as text, and save the checkpoint again"
            )
        seen.add(id(value))
        pending.extend(_children(name, value))


def _children(name: str, value: Any) -> Iterator[tuple[str, object]]:
    """What a container or tensor holds, with the expression that leads to each part."""
    # Called on `dict`, because an attribute from the file may hide the method of this very dictionary.
    if type(value) in MAPPINGS:
        for key, item in dict.items(value):
            yield f"a key of {name}", key
            yield f"{name}[{key!r}]", item
    elif type(value) in SEQUENCES:
        yield from ((f"{name}[{index}]", item) for index, item in enumerate(value))
    else:
        yield f"{name}._backward_hooks", value._backward_hooks
    for attribute, item in getattr(value, "__dict__", {}).items():
        yield f"{name}.{attribute}", item


def _type_name(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
