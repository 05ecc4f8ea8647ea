"""The stem and first two stages of a DLA network as one operation of a GPU (Triton), for inference in 16 bits.

Their maps are the finest, and none but the last is written to memory. `with_fused_stem` puts the operation into a
network; where it cannot run, the convolutions do. On a GPU: not run yet, neither its results nor its speed.
"""

import copy
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dla.backbones import take_indices
from dla.deploy.errors import DeployError
from dla.models.classifier import DLA

PIXEL = 4  # channels of the kernel's images, zeros among them: 8 bytes, which are loaded at once
HALF = (torch.float16, torch.bfloat16)
WIDEST = 64  # channels of the maps between, of which several must fit into a multiprocessor


class _Layer(nn.Module):
    """A convolution and ReLU, with the weights once more as the kernel reads them."""

    weight: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Conv2d, inputs: int) -> None:
        super().__init__()
        self.conv = conv
        weight, bias = packed(conv, inputs)
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x), inplace=True)


class FusedStem(nn.Module):
    """Three convolutions with ReLU as one operation: on a GPU, in float16 or bfloat16, without gradients.

    Under autocast its type counts. Elsewhere, and without Triton, the convolutions run one after another. The weights
    are read when it is made.

    Args:
        stem: 7x7 or 3x3, of images with 1 to 4 channels.
        first: 3x3.
        second: 3x3, of any stride. All have biases, from batch norm folded into them, and padding that keeps the size.

    Raises:
        DeployError: the kernel cannot take them.
    """

    def __init__(self, stem: nn.Conv2d, first: nn.Conv2d, second: nn.Conv2d) -> None:
        super().__init__()
        _check(stem, stem.kernel_size[0], 1)
        _check(first, 3, 1)
        _check(second, 3, second.stride[0])
        widest = max(stem.out_channels, first.out_channels)
        if stem.in_channels > PIXEL or widest > WIDEST:
            raise DeployError(
                f"the fused stem takes images of at most {PIXEL} channels, not {stem.in_channels}, and makes maps of "
                f"at most {WIDEST} between, not {widest}: leave it out"
            )
        inputs = (PIXEL, _power_of_2(stem.out_channels), _power_of_2(first.out_channels))
        convs = zip((stem, first, second), inputs, strict=True)
        self.layers = nn.Sequential(*(_Layer(conv, count) for conv, count in convs))
        self.border = stem.kernel_size[0] // 2
        self.in_channels = stem.in_channels
        self.stride, self.out_channels = second.stride[0], second.out_channels
        self.has_triton = find_spec("triton") is not None

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k _ _"]:
        """Images -> stage 2's map (b, k, ceil(h / stride), ceil(w / stride))."""
        if x.shape[1] != self.in_channels:
            raise ValueError(f"the images should be of {self.in_channels} channels, not {x.shape[1]}")
        dtype = _computed_in(x)
        if not (self.has_triton and x.is_cuda and dtype in HALF) or torch.is_grad_enabled():
            return self.layers(x)
        weights, biases = ([getattr(layer, name).to(dtype) for layer in self.layers] for name in ("weight", "bias"))
        return _fused_stem(bordered(x.to(dtype), self.border), weights, biases, self.stride, self.out_channels)


def _computed_in(x: Tensor) -> torch.dtype:
    autocast = torch.is_autocast_enabled(x.device.type)
    return torch.get_autocast_dtype(x.device.type) if autocast else x.dtype


def bordered(x: Float[Tensor, "b c h w"], border: int) -> Float[Tensor, "b 4 _ _"]:
    """Images with zeros around them and zeros as further channels."""
    return F.pad(x, (border, border, border, border, 0, PIXEL - x.shape[1]))


def packed(conv: nn.Conv2d, inputs: int) -> tuple[Float[Tensor, "rows columns_inputs n"], Float[Tensor, " n"]]:
    """Weight and bias as the kernel reads them, filled up with zeros.

    Every row of the window is one matrix from its columns, each with `inputs` channels, to the outputs; both sizes of
    it are powers of 2, of at least 16.
    """
    outputs, channels = conv.weight.shape[:2]
    spare = _power_of_2(outputs) - outputs
    weight = F.pad(conv.weight.detach().permute(2, 3, 1, 0), (0, spare, 0, inputs - channels)).flatten(1, 2)
    weight = F.pad(weight, (0, 0, 0, _power_of_2(weight.shape[1]) - weight.shape[1]))
    assert conv.bias is not None
    return weight.contiguous(), F.pad(conv.bias.detach(), (0, spare))


def empty_result(image: Tensor, kernel: int, stride: int, channels: int) -> Float[Tensor, "b k _ _"]:
    """Memory for the map that comes of `bordered` images, channels last."""
    sides = [(side - kernel) // stride + 1 for side in image.shape[2:]]
    shape = (len(image), channels, *sides)
    return torch.empty(shape, dtype=image.dtype, device=image.device, memory_format=torch.channels_last)


@torch.library.custom_op("dla::fused_stem", mutates_args=(), device_types="cuda")
def _fused_stem(
    image: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], stride: int, channels: int
) -> Tensor:
    from dla.deploy.stem_launch import launch  # here, because not every torch comes with Triton

    out = empty_result(image, len(weights[0]), stride, channels)
    launch(image, weights, biases, out, stride=stride)
    return out


@_fused_stem.register_fake
def _(image: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], stride: int, channels: int) -> Tensor:
    return empty_result(image, len(weights[0]), stride, channels)


class _FusedDLA(DLA):
    """A network that never makes its first map."""

    def forward_intermediates(self, x: Tensor, indices: Any = None, *args: Any, **options: Any) -> Any:
        if 0 in take_indices(len(self.stages), indices):
            raise DeployError("the fused stem gives no map of the first stage: ask for others, or leave it out")
        return super().forward_intermediates(x, indices, *args, **options)


def with_fused_stem(model: nn.Module) -> nn.Module:
    """A copy of `model` whose DLA networks, `model` itself or parts of it, have a `FusedStem`.

    `forward_intermediates` of theirs gives all maps but the first.

    Args:
        model: with batch norm folded (`dla.deploy.folded`).

    Raises:
        DeployError: there is no DLA network, or one whose stem cannot be fused.
    """
    model = copy.deepcopy(model)
    networks = [module for module in model.modules() if type(module) is DLA]
    if not networks:
        raise DeployError(f"{type(model).__name__} has no DLA network in it whose stem could be fused: leave it out")
    for network in networks:
        _fuse(network)
    return model


def _fuse(network: DLA) -> None:
    if len(network.stages) < 2:
        raise DeployError("the fused stem gives the map of the second stage, and this network ends before it")
    convs = [_convolution(part) for part in (network.stem, *network.stages[:2])]
    network.stem = FusedStem(*convs)  # type: ignore[assignment]
    network.stages[0], network.stages[1] = nn.Identity(), nn.Identity()
    network.__class__ = _FusedDLA


def _convolution(part: nn.Module) -> nn.Conv2d:
    kinds = [type(module).__name__ for module in part.modules()]
    if kinds != ["Sequential", "Sequential", "Conv2d", "Identity", "ReLU"]:
        raise DeployError(
            f"the fused stem needs convolutions into which batch norm is folded, not {', '.join(kinds[2:])}: fold it, "
            "or leave the fused stem out"
        )
    return next(module for module in part.modules() if isinstance(module, nn.Conv2d))


def _check(conv: nn.Conv2d, side: int, stride: int) -> None:
    wanted = nn.Conv2d(conv.in_channels, conv.out_channels, side, stride, side // 2, device="meta")
    if repr(conv) != repr(wanted):
        raise DeployError(f"the fused stem takes {wanted}, not {conv}: leave it out")


def _power_of_2(count: int) -> int:
    return max(16, 1 << (count - 1).bit_length())
