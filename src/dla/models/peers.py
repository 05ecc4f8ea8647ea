"""The networks that ours are compared with, as timm and torchvision have them."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from dla.backbones import timm_model
from dla.models.options import expect_drop_path_rate
from dla.models.small_images import for_small_images
from dla.names import parse
from dla.rewire import rewire as arranged

LIBRARIES = ("timm", "torchvision")
CLASSES, PIXEL_CLASSES = 1000, 19  # by default, as of ours


def create_peer(
    name: str,
    pretrained: bool = False,
    *,
    num_classes: int | None = None,
    in_chans: int = 3,
    stem_stride: int = 4,
    drop_path_rate: float = 0.0,
    rewire: str | None = None,
    **options: Any,
) -> nn.Module:
    """A network of another library: "timm/resnet34", "torchvision/squeezenet1_1", "torchvision/deeplabv3_resnet50".

    Args:
        name: library, slash, the library's name; timm's weights are named after a dot, "timm/resnet34.a1_in1k".
        pretrained: load those weights, of timm alone.
        num_classes: 1000 by default, 19 of torchvision's networks that segment.
        in_chans: channels of the images; torchvision's networks have 3.
        stem_stride: 4 leaves the network as it is; 2 or 1 for small images, see `for_small_images`.
        drop_path_rate: stochastic depth, where the network has it.
        rewire: "hda", "ida" or "hda+ida" arranges the blocks of timm's ResNet, ConvNeXt, EfficientNet and others so,
            see `dla.rewire`.
        options: others that timm's or torchvision's builder takes.

    Raises:
        ValueError: the library or the name is unknown, the stem or the blocks cannot be changed so, or
            `drop_path_rate` is no chance.
        TypeError: the network does not know an option.
        WeightsError: the weights cannot be had.
    """
    library, inner = parse(name).library, parse(name).inner
    if library not in LIBRARIES:
        raise ValueError(f"unknown library in {name!r}: a name begins with {' or '.join(f'{x}/' for x in LIBRARIES)}")
    if pretrained and stem_stride != 4:
        raise ValueError(f"the weights of {name} are of its usual stem: leave out stem_stride, or the weights' name")
    expect_drop_path_rate(drop_path_rate)
    if drop_path_rate:
        options["drop_path_rate"] = drop_path_rate
    if library == "torchvision" and (pretrained or in_chans != 3 or rewire):
        raise ValueError(f"{name} is made untrained, of 3 channels and not rewired; take timm's, if it has it")
    classes = CLASSES if num_classes is None else num_classes
    try:
        if library == "timm":
            model = timm_model(inner, pretrained=pretrained, in_chans=in_chans, num_classes=classes, options=options)
            model = for_small_images(model, stem_stride)
            return arranged(model, structure=rewire, verbose=False) if rewire else model
        wrapped = Torchvision(inner, num_classes, **options)
    except TypeError as error:
        raise TypeError(f"{name} does not know an option: {error}") from error
    for_small_images(wrapped.model, stem_stride)
    return wrapped


class Torchvision(nn.Module):
    """A network of torchvision that classifies or segments, untrained; a task trains those that classify.

    Args:
        name: of `torchvision.models` or `torchvision.models.segmentation`, such as "squeezenet1_1", "fcn_resnet50".
        num_classes: None for 1000, or 19 where it segments.
        options: others of the network's builder.

    Raises:
        ValueError: torchvision has no such network.
    """

    def __init__(self, name: str, num_classes: int | None = None, **options: Any) -> None:
        super().__init__()
        from torchvision import models

        self.segments = name in models.list_models(module=models.segmentation)
        if not self.segments and name not in models.list_models(module=models):
            raise ValueError(f"torchvision has no network {name!r} that classifies or segments: see its list_models()")
        if self.segments:
            options = {"weights_backbone": None, **options}
        if num_classes is None:
            num_classes = PIXEL_CLASSES if self.segments else CLASSES
        self.model = models.get_model(name, weights=None, num_classes=num_classes, **options)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k *size"]:
        """Logits of each image, or of each pixel (b, k, h, w)."""
        out = self.model(x)
        return out["out"] if self.segments else out

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """torchvision's networks have none: raises a ValueError where it is asked for."""
        if enable:
            raise ValueError("torchvision's networks have no gradient checkpointing: leave grad_checkpointing out")
