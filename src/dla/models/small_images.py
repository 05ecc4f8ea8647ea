"""Networks of timm and torchvision in a form for small images, as `stem_stride` gives it to ours."""

from torch import nn

from dla.models.blocks import initialise

# The first convolution, and what halves the map after it: a pooling, or a convolution whose stride does.
STEMS = {
    "conv1": "maxpool",  # ResNet, ResNeXt
    "features.conv0": "features.pool0",  # DenseNet
    "features.0": "features.2",  # torchvision's SqueezeNet
    "conv_stem": "blocks.0.0.conv_dw",  # MobileNetV3-small
}


def for_small_images(model: nn.Module, stem_stride: int) -> nn.Module:
    """Change the stem of `model` for images of about 32 (`stem_stride` 1) or 64 pixels (2), and return the model.

    One rule for all: the first convolution becomes 3x3, untrained, with stride `stem_stride`, and what halves the map
    after it no longer does: a pooling goes, a convolution gets stride 1. The strides of all maps behind are then
    `stem_stride` quarters of the usual ones, as in `DLA`. 4 changes nothing.

    Raises:
        ValueError: `stem_stride` is none of these, or the stem is of none of the families that are known here.
    """
    if stem_stride == 4:
        return model
    if stem_stride not in (1, 2):
        raise ValueError(f"stem_stride must be 1, 2 or 4, not {stem_stride}")
    modules = dict(model.named_modules())
    for names in STEMS.items():
        first, second = (modules.get(name) for name in names)
        if not isinstance(first, nn.Conv2d) or not isinstance(second, nn.MaxPool2d | nn.Conv2d):
            continue
        if _halves(first) and _halves(second):  # unlike AlexNet's and VGG's, which have the same names
            model.set_submodule(names[0], _stem(first, stem_stride))
            if isinstance(second, nn.Conv2d):
                second.stride = (1, 1)
            else:
                model.set_submodule(names[1], nn.Identity())
            return model
    raise ValueError(
        f"how the stem of {type(model).__name__} is made for small images is not known, only that of timm's "
        "resnet18 and others that begin with one 7x7 convolution, ResNeXt, DenseNet and MobileNetV3-small, and of "
        "torchvision's SqueezeNet: leave out stem_stride and enlarge the images"
    )


def _halves(layer: nn.MaxPool2d | nn.Conv2d) -> bool:
    return layer.stride in (2, (2, 2))


def _stem(conv: nn.Conv2d, stride: int) -> nn.Conv2d:
    new = nn.Conv2d(conv.in_channels, conv.out_channels, 3, stride, 1, bias=conv.bias is not None)
    new.apply(initialise)
    return new
