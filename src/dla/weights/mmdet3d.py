"""mmdetection3d's names for DLA-34 and CenterNet's decoder, turned into those of the authors and of CenterNet.

Norms are called norm, lists count from 0, and a detector has the classifier as `backbone` and the decoder as `neck`.
"""

import re
from collections.abc import Collection


def is_mmdet3d(keys: Collection[str]) -> bool:
    """Whether these are the keys of mmdetection3d's DLA, or of a detector that has it."""
    return any(".root.norm." in key for key in keys)


def authors_names(keys: Collection[str]) -> dict[str, str]:
    """For each key that of CenterNet's network; of the authors' classifier where there is no decoder."""
    base = "base." if any(key.startswith("neck.") for key in keys) else ""
    return {key: _neck(key[5:]) if key.startswith("neck.") else _backbone(key, base) for key in keys}


def _backbone(key: str, base: str) -> str:
    key = re.sub(r"\.norm(\d)\.", r".bn\1.", key).replace(".root.norm.", ".root.bn.")
    return re.sub(r"^backbone\.", base, key)


def _neck(key: str) -> str:
    key = re.sub(r"\b(proj|up|node)s\.(\d+)\.", lambda found: f"{found[1]}_{int(found[2]) + 1}.", key)
    return re.sub(r"\.[bg]n\.", ".actf.0.", key).replace(".conv_offset.", ".conv_offset_mask.")
