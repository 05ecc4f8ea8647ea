"""Weights of our models in other libraries' layouts, the reverse of `load_weights`."""

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from dla.files import atomic_write
from dla.networks import unwrapped
from dla.weights import official, timm
from dla.weights.layouts import network_names


def export_weights(model: nn.Module, layout: str, path: str | os.PathLike[str] | None = None) -> dict[str, Tensor]:
    """A model's weights as timm's or the authors' network of the same name loads them, strictly.

    "timm" is for classifiers. "official" is for these, for the authors' dense predictors (`dla34up` and so on), and for
    detectors (`dla34_centernet` and so on), whose layout is CenterNet's. The authors' networks have layers that nothing
    uses; for these, zeros are written, and for their batch norms what these start with: unused projections, and the
    classifier of 1000 classes inside a dense predictor. CenterNet's has no such classifier unless it was built from
    pretrained weights.

    Args:
        model: of `create_model`; also in a wrapper, as in `load_weights`.
        layout: "timm" or "official".
        path: a file to write as well; .safetensors, or any other name for torch's format.

    Returns:
        A new state dict; its tensors are those of `model` where the shapes agree.

    Raises:
        ValueError: there is no such layout, or it has no place for a part of the model, which the message names.
    """
    if layout not in ("timm", "official"):
        raise ValueError(f"layout must be 'timm' or 'official', not {layout!r}")
    model = unwrapped(model)
    network = hasattr(model, "backbone")
    names = network_names(model) if network and layout == "official" else timm.names(model)
    odd = sorted({key.rpartition(".")[0] for key in model.state_dict()} - names.keys())
    if odd:
        raise ValueError(
            f"the layout {layout!r} has no {odd[0]}: it is for the ten classifiers"
            + (
                ", dense predictors such as dla34up, and detectors such as dla34_centernet"
                if layout == "official"
                else ""
            )
        )
    _expect_published(model, layout)
    state = timm.renamed(model, names)
    if layout == "official":
        state |= _unused_layers(model, network)
    if path is not None:
        _write(state, Path(path))
    return state


def _expect_published(model: nn.Module, layout: str) -> None:
    """Raise a ValueError unless stem and norms are those of the networks that others have."""
    conv, norm = next(module.stem for module in model.modules() if hasattr(module, "stem"))[0]  # type: ignore[index]
    if conv.kernel_size != (7, 7) or conv.out_channels != 16 or not hasattr(norm, "running_mean"):
        raise ValueError(
            f"the layout {layout!r} is of networks with a stem of 7x7, 16 channels in it, and batch norm: this one has "
            "another stem_stride, width or norm_layer"
        )


def _unused_layers(model: nn.Module, network: bool) -> dict[str, Tensor]:
    """What the authors' network has and ours does not."""
    if not network:
        return official.invented(model)
    state = {f"base.{key}": value for key, value in official.invented(model).items()}
    return state | (official.invented_ends(model) if hasattr(model, "head") else {})


def _write(state: dict[str, Tensor], path: Path) -> None:
    from safetensors.torch import save_file

    with atomic_write(path) as partial:
        if path.suffix == ".safetensors":
            save_file({key: value.contiguous() for key, value in state.items()}, partial)
        else:
            torch.save(state, partial)
