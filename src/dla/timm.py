"""Our ten networks in timm's registry: importing this module adds them, named like timm's own with `_agg` behind.

    import dla.timm, timm

    model = timm.create_model("dla34_agg", output_stride=16, features_only=True)

timm's `dla34` and our `dla34_agg` are the same function of the same weights. Ours also takes images of any size,
smaller output strides, other norms, stochastic depth and gradient checkpointing.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from dla.models import DLA, VARIANTS, build
from dla.weights import load_weights

SUFFIX = "_agg"

default_cfgs = generate_default_cfgs(
    {
        f"{name}{SUFFIX}.in1k": {
            "hf_hub_id": f"timm/{name}.in1k",
            "input_size": (3, 224, 224),
            "pool_size": (7, 7),
            "crop_pct": 0.875,
            "interpolation": "bilinear",
            "mean": IMAGENET_DEFAULT_MEAN,
            "std": IMAGENET_DEFAULT_STD,
            "num_classes": 1000,
            "first_conv": "stem.0.0",
            "classifier": "head.fc",
            "license": "bsd-3-clause",
        }
        for name in VARIANTS
    }
)
"""Facts of the authors' ImageNet weights, which timm's hub has in timm's layout; `register_model` reads them here."""


def to_ours(state: Mapping[str, Tensor], model: DLA) -> Mapping[str, Tensor]:
    """Weights in any layout that `dla.load_weights` knows, as those of a classifier.

    Its head of other classes stays as it is, and so do the stems of its further images.

    Raises:
        WeightsError: they are not the weights of this network.
    """
    biases = [state[key] for key in ("head.fc.bias", "fc.bias") if key in state]
    load_weights(model, state, new_head=model.num_classes not in (0, *map(len, biases)))
    # Loaded already, because timm would load weights for other classes without telling which are missing.
    return model.state_dict()


def _entrypoint(name: str) -> Callable[..., nn.Module]:
    def create(pretrained: bool = False, **options: Any) -> nn.Module:
        """Build the network with timm's arguments; a misspelt one raises a TypeError."""
        return build_model_with_cfg(
            partial(build, VARIANTS[name]),
            f"{name}{SUFFIX}",
            pretrained,
            pretrained_filter_fn=to_ours,
            # The getter unless `feature_cls` asks for another wrapper, which finds the stages by flattening.
            feature_cfg={"out_indices": (1, 2, 3, 4, 5), "feature_cls": "getter", "flatten_sequential": True},
            **options,
        )

    create.__name__ = create.__qualname__ = f"{name}{SUFFIX}"  # the name that the registry takes
    return create


for _name in VARIANTS:
    globals()[f"{_name}{SUFFIX}"] = register_model(_entrypoint(_name))
