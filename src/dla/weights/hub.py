"""Weights on the Hugging Face hub, fetched once and then read from its cache; timm keeps the authors' there."""

import re
from pathlib import Path
from typing import Any

from dla.weights.report import WeightsError

PREFIX = "hf-hub:"
FILES = (".safetensors", ".pth", ".pt", ".ckpt", ".tar", ".bin", ".pkl", ".gz", ".zip", ".onnx", ".npz")
IMAGENET = "in1k"  # ends the names of the authors' weights, such as "dla34.in1k"


def is_hub_name(source: str) -> bool:
    """Whether this is a repository: "timm/dla34.in1k" where no folder here is named "timm", or all behind "hf-hub:"."""
    if source.startswith(PREFIX):
        return True
    return _like_hub_name(source) and not Path(source).parent.is_dir()


def is_saved(source: str) -> bool:
    """Whether this is what `dla.hub.HubModel` saves: a folder with a config.json, or a repository by its name."""
    return (Path(source) / "config.json").is_file() or is_hub_name(source)


def _like_hub_name(source: str) -> bool:
    named = re.fullmatch(r"[\w-][\w.-]*/[\w.-]+(@[\w.-]+)?", source)
    return named is not None and not source.endswith(FILES)


def check_path(source: str) -> None:
    """Refuse a missing file in a folder here whose name could be a repository's as well.

    Raises:
        WeightsError: it is one.
    """
    if _like_hub_name(source) and not Path(source).exists():
        raise WeightsError(
            f"there is no {source}, though there is a folder {Path(source).parent} here: check the path; or, for a "
            f"repository of the Hugging Face hub, write {PREFIX}{source}"
        )


def download(source: str) -> str:
    """The path of a repository's model.safetensors, fetched unless the cache has it; a revision follows an "@".

    Raises:
        WeightsError: it is neither in the cache nor within reach.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    repository = source.removeprefix(PREFIX)
    name, _, revision = repository.partition("@")
    try:
        return hf_hub_download(name, "model.safetensors", revision=revision or None)
    except (OSError, ValueError, EntryNotFoundError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise WeightsError(
            f"{repository} is no file here, and of the Hugging Face hub it is neither in the cache nor could it be "
            f"fetched ({reason}). Check the name, the network, and that HF_HUB_OFFLINE is not set; or fetch the file "
            f"elsewhere by `hf download {name} model.safetensors`, and give its path to dla.load_weights, or to "
            "--model.weights"
        ) from error


def imagenet_cfg() -> dict[str, Any]:
    """Classes of the authors' ImageNet weights, and how images were prepared for them (Section 4.1)."""
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo()
    return {
        "task": "classification",
        "num_classes": 1000,
        "classes": [info.index_to_description(index) for index in range(1000)],
        "input_size": [3, 224, 224],
        "resize": 256,
        "crop": 224,
        "crop_pct": 0.875,
        "interpolation": "bilinear",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }
