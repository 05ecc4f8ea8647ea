"""timm's models as lists of maps: by name, or as a module whose head is then dropped."""

from collections.abc import Sequence
from difflib import get_close_matches
from numbers import Integral
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from dla.backbones.backbone import Backbone
from dla.backbones.maps import Maps
from dla.backbones.pyramid import SimplePyramid
from dla.backbones.specs import choose
from dla.weights import WeightsError

# Options with which timm's transformers take images of any size; the others know neither.
ANY_SIZE: tuple[dict[str, Any], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})


def timm_model(
    name: str, *, pretrained: bool, in_chans: int, options: dict[str, Any], num_classes: int = 0
) -> nn.Module:
    """timm's model of this name, without its classifier for no classes, made for images of any size where timm can.

    Raises:
        ValueError: timm has no such model, or no such weights, or the model cannot have an option's value.
        TypeError: the model does not know one of the options.
        WeightsError: the weights are not in the cache and cannot be downloaded.
    """
    import timm

    base = name.partition(".")[0]
    if not timm.is_model(name):
        near = get_close_matches(base, timm.list_models(), n=5)
        raise ValueError(
            f"unknown backbone {name!r}; near it timm has {', '.join(near) or 'none'}: see timm.list_models()"
        )
    tagged = timm.list_models(f"{base}.*", pretrained=True)
    if name not in (base, *tagged):
        raise ValueError(f"timm has no weights {name!r}; it has {', '.join(tagged) or 'none of this model'}")
    if not isinstance(in_chans, Integral):
        raise ValueError(f"timm's {name} takes one image, of in_chans channels, a whole number, not {in_chans}")
    for any_size in ANY_SIZE:
        try:
            return _create(name, pretrained, num_classes=num_classes, in_chans=in_chans, **{**any_size, **options})
        except TypeError as error:
            if not any(repr(option) in str(error) for option in any_size):
                raise
    raise AssertionError("the last of ANY_SIZE has no option that a model could refuse")


def _create(name: str, pretrained: bool, **options: Any) -> nn.Module:
    import timm

    try:
        return timm.create_model(name, pretrained=pretrained, **options)
    except TypeError:  # an option, not the weights
        raise
    except AssertionError as error:  # an option's value, too; timm mostly says no word of it
        raise ValueError(f"timm's {name} cannot have {_refused(options, error)}") from error
    except Exception as error:  # the hub's client fails in many ways
        if not pretrained:
            raise
        _create(name, False, **options)  # where it fails without weights, too, with that error
        reason = str(error).partition("\n")[0]
        raise WeightsError(
            f"the weights of {name} cannot be had ({reason}): connect to the network once, so that "
            "they come into the cache of huggingface_hub, or give pretrained=False"
        ) from error


def _refused(options: dict[str, Any], error: AssertionError) -> str:
    if (stride := options.get("output_stride", 32)) != 32:
        return f"output_stride={stride!r}: give 8, 16 or 32, of which some have but the last, or leave it out"
    given = ", ".join(f"{key}={value!r}" for key, value in options.items())
    return f"one of {given} ({error or 'timm does not say which'}): give another value, or leave it out"


class Intermediates(nn.Module):
    """The maps of a timm classifier at `indices`; what stands behind the last of them is dropped.

    Args:
        model: of `timm.create_model`; it is changed.
        indices: of its `feature_info`.
        norm: keep the norm behind the last block, which plain transformers need.
    """

    def __init__(self, model: Any, indices: Sequence[int], *, norm: bool) -> None:
        super().__init__()
        self.model = model
        self.norm = norm
        self.indices = self.model.prune_intermediate_layers(list(indices), prune_norm=not norm)

    def forward(self, x: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """Maps (b, channels, _, _), finest first."""
        return self.model.forward_intermediates(
            x, indices=self.indices, norm=self.norm, output_fmt="NCHW", intermediates_only=True
        )

    @property
    def set_grad_checkpointing(self) -> Any:
        """timm's own method, None where the model has none; `Maps` calls it where there is no batch norm."""
        return getattr(self.model, "set_grad_checkpointing", None)


def timm_maps(
    model: nn.Module,
    *,
    in_chans: int = 3,
    out_indices: int | Sequence[int] | None = None,
    finest: int = 2,
) -> Backbone:
    """The maps of a timm classifier, which loses its head and whatever else no map needs.

    Where all its maps have one stride, as those of plain vision transformers, a pyramid is made of the last one, or of
    the only one in `out_indices`.

    Args:
        model: of `timm.create_model`; it is changed.
        in_chans: channels of the images.
        out_indices: of timm's `feature_info`; several of one stride are taken as they are.
        finest: with None for `out_indices`, maps of finer strides are left out.
    """
    info: Any = model.feature_info
    strides = [level["reduction"] for level in info]
    plain = len(set(strides)) == 1
    if plain and out_indices is None:
        out_indices = 1
    taken = choose(strides, out_indices, finest)
    maps = Maps(Intermediates(model, taken, norm=plain), in_chans=in_chans)
    return SimplePyramid(maps, finest=finest) if plain and len(taken) == 1 else maps
