"""The networks that ours are compared with, as timm and torchvision have them, and their form for small images."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from dla.backbones import timm_model
from dla.models.classifier import initialise

LIBRARIES = ("timm", "torchvision")
# The first convolution, and what halves the map after it: a pooling, or a convolution whose stride does.
STEMS = {
    "conv1": "maxpool",  # ResNet, ResNeXt
    "features.conv0": "features.pool0",  # DenseNet
    "features.0": "features.2",  # torchvision's SqueezeNet
    "conv_stem": "blocks.0.0.conv_dw",  # MobileNetV3-small
}


def create_peer(
    name: str,
    pretrained: bool = False,
    *,
    num_classes: int = 1000,
    in_chans: int = 3,
    stem_stride: int = 4,
    drop_path_rate: float = 0.0,
    **options: Any,
) -> nn.Module:
    """A classifier of another library, "timm/resnet34" or "torchvision/squeezenet1_1".

    Args:
        name: library, slash, the library's name; timm's weights are named after a dot, "timm/resnet34.a1_in1k".
        pretrained: load those weights, of timm alone.
        num_classes: of the classifier.
        in_chans: channels of the images; torchvision's networks have 3.
        stem_stride: 4 leaves the network as it is; 2 or 1 for small images, see `for_small_images`.
        drop_path_rate: stochastic depth, where the network has it.
        options: others that timm's or torchvision's builder takes.

    Raises:
        ValueError: the library or the name is unknown, or the stem cannot be changed.
        TypeError: the network does not know an option.
        WeightsError: the weights cannot be had.
    """
    library, _, inner = name.partition("/")
    if library not in LIBRARIES:
        raise ValueError(f"unknown library in {name!r}: a name begins with {' or '.join(f'{x}/' for x in LIBRARIES)}")
    if pretrained and stem_stride != 4:
        raise ValueError(f"the weights of {name} are of its usual stem: leave out stem_stride, or the weights' name")
    if drop_path_rate:
        options["drop_path_rate"] = drop_path_rate
    model: nn.Module
    if library == "timm":
        model = timm_model(inner, pretrained=pretrained, in_chans=in_chans, num_classes=num_classes, options=options)
    else:
        model = TorchvisionClassifier(inner, pretrained, num_classes=num_classes, in_chans=in_chans, **options)
    return model if stem_stride == 4 else for_small_images(model, stem_stride)


class TorchvisionClassifier(nn.Module):
    """A classifier of torchvision, untrained, with the methods that a task asks of a network.

    Args:
        name: of `torchvision.models`, such as "squeezenet1_1".
        pretrained: must be False.
        num_classes: of the classifier.
        in_chans: must be 3.
        options: others of the network's builder.

    Raises:
        ValueError: torchvision has no such classifier, or pretrained or in_chans is what it must not be.
    """

    def __init__(self, name: str, pretrained: bool, *, num_classes: int, in_chans: int, **options: Any) -> None:
        super().__init__()
        from torchvision import models

        if name not in models.list_models(module=models):
            raise ValueError(f"torchvision has no classifier {name!r}: see torchvision.models.list_models()")
        if pretrained or in_chans != 3:
            raise ValueError(f"torchvision/{name} is made untrained and of 3 channels; take timm's, if it has it")
        self.model = models.get_model(name, weights=None, num_classes=num_classes, **options)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k"]:
        """Logits of each image."""
        return self.model(x)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """torchvision's networks have none: raises a ValueError where it is asked for."""
        if enable:
            raise ValueError("torchvision's networks have no gradient checkpointing: leave grad_checkpointing out")


def for_small_images(model: nn.Module, stem_stride: int) -> nn.Module:
    """Change the stem of `model` for images of about 32 (`stem_stride` 1) or 64 pixels (2), and return the model.

    One rule for all: the first convolution becomes 3x3, untrained, with stride `stem_stride`, and what halves the map
    after it no longer does: a pooling goes, a convolution gets stride 1. The strides of all maps behind are then
    `stem_stride` quarters of the usual ones, as in `DLA`.

    Raises:
        ValueError: `stem_stride` is neither 1 nor 2, or the stem is of none of the families that are known here.
    """
    if stem_stride not in (1, 2):
        raise ValueError(f"stem_stride must be 1, 2 or 4, not {stem_stride}")
    modules = dict(model.named_modules())
    prefix = "model." if isinstance(model, TorchvisionClassifier) else ""
    for names in STEMS.items():
        first, second = (modules.get(prefix + name) for name in names)
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.MaxPool2d | nn.Conv2d) and _halves(second):
            model.set_submodule(prefix + names[0], _stem(first, stem_stride))
            if isinstance(second, nn.Conv2d):
                second.stride = (1, 1)
            else:
                model.set_submodule(prefix + names[1], nn.Identity())
            return model
    raise ValueError(
        f"how the stem of {type(model).__name__} is made for small images is not known, only that of timm's ResNet, "
        "ResNeXt, DenseNet and MobileNetV3-small, and torchvision's SqueezeNet: leave out stem_stride and enlarge the "
        "images"
    )


def _halves(layer: nn.MaxPool2d | nn.Conv2d) -> bool:
    return layer.stride in (2, (2, 2))


def _stem(conv: nn.Conv2d, stride: int) -> nn.Conv2d:
    new = nn.Conv2d(conv.in_channels, conv.out_channels, 3, stride, 1, bias=conv.bias is not None)
    new.apply(initialise)
    return new
