"""vis4d's names for the classifiers' trunks: timm's, but that nodes' norms were `bn1` before its version 0.1.3."""

from collections.abc import Collection


def is_vis4d(keys: Collection[str]) -> bool:
    """Whether these are the keys of vis4d's DLA and not timm's: of an early version, or inside a detector."""
    return any(".root.bn1." in key or key.startswith("basemodel.base_layer.") for key in keys)


def authors_names(keys: Collection[str]) -> dict[str, str]:
    """For each key that of timm's, and the authors', classifier."""
    return {key: key.removeprefix("basemodel.").replace(".root.bn1.", ".root.bn.") for key in keys}
