"""Convolutions of images, whose few channels libraries compute slowly: on a GPU they leave cudnn's matrix units idle.

`ImageConv2d` is a `Conv2d` that takes kernels of ours where they can run, for training and inference.
"""

from importlib.util import find_spec
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.fx import Proxy
from torch.nn.grad import conv2d_input

from dla.kernels.packing import filled, narrow, packed, unpacked
from dla.recompute.surroundings import transformed

CHANNELS = 4  # of the kernels' images, zeros among them: 8 bytes
PIXELS = 2  # neighbouring positions that are computed together
HALF = (torch.float16, torch.bfloat16)
HAS_ONEDNN = torch.backends.mkldnn.is_available()
HAS_TRITON = find_spec("triton") is not None


class ImageConv2d(nn.Conv2d):
    """`nn.Conv2d`, computed by other kernels where images of up to 4 channels keep their size.

    That is on a GPU with Triton, in float16 or bfloat16 (under autocast its type counts), with a square window of 1,
    3, 5 or 7, stride 1, no bias and a power of 2 of channels, up to 64; it is convolved as by `nn.Conv2d` otherwise.
    The kernels' result is channels last in memory. So it is in training on a processor, and with it all maps of the
    network: oneDNN needs a third of the time for such a stem, and a tenth to a quarter less for a whole step.
    """

    def forward(self, x: Float[Tensor, "*b c h w"]) -> Float[Tensor, "*b k _ _"]:
        """Images -> maps."""
        if isinstance(x, Proxy):  # that of torch.fx
            return super().forward(x)
        if self.training and x.device.type == "cpu" and HAS_ONEDNN:
            # The weight decides, too, and is the smaller one to copy. torch.vmap, which trains ensembles, knows this
            # way to lay channels last, and none that names a memory format.
            return self._conv_forward(x, self.weight.movedim(1, -1).contiguous().movedim(-1, 1), self.bias)
        if not (x.is_cuda and self._fits() and self._takes(x)):
            return super().forward(x)
        dtype = _computed_in(x)
        return image_convolution(x.to(dtype), self.weight.to(dtype))

    def _fits(self) -> bool:
        outputs = self.out_channels
        return narrow(self, CHANNELS, stride=1) and self.bias is None and outputs & (outputs - 1) == 0

    def _takes(self, x: Tensor) -> bool:
        """Whether the kernels compute these images; if not, `Conv2d` does, or says what is wrong with them."""
        runs = self.weight.is_cuda and not _exporting() and not _transforming() and kernels_run_on(x.device)
        typed = x.dtype == self.weight.dtype or (
            torch.is_autocast_enabled("cuda") and x.dtype in (torch.float32, *HALF)
        )
        return (
            runs
            and typed
            and _computed_in(x) in HALF
            and x.dim() == 4
            and x.shape[1] == self.in_channels
            and x.numel() > 0
        )


def _exporting() -> bool:
    """Whether a program is made that has to run without this package; torch.compile of PyTorch 2.11 says so always."""
    exported = torch.compiler.is_exporting() and not torch.compiler.is_dynamo_compiling()
    return exported or torch.jit.is_tracing()  # type: ignore[attr-defined]


def _transforming() -> bool:
    """Whether torch.func asks for gradients of its own or for many weights at once, which operations of ours lack."""
    return not torch.compiler.is_compiling() and transformed()


def kernels_run_on(device: torch.device) -> bool:
    """Whether Triton is there, and the GPU is NVIDIA's and multiplies matrices in 16 bits of both kinds."""
    if not HAS_TRITON or torch.version.hip is not None:
        return False
    absent = not torch.cuda.is_available()  # but in a fake mode
    return torch.compiler.is_compiling() or absent or torch.cuda.get_device_capability(device) >= (8, 0)


def _computed_in(x: Tensor) -> torch.dtype:
    return torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else x.dtype


@torch.library.custom_op("dla::image_convolution", mutates_args=(), device_types="cuda")
def image_convolution(image: Tensor, weight: Tensor) -> Tensor:
    """Convolve images (b, c, h, w) by a weight (o, c, k, k) of the same type, with padding of k // 2."""
    from dla.kernels import rows  # here, because not every torch comes with Triton

    weights = packed(weight, CHANNELS, PIXELS)
    return rows.convolve(filled(image, CHANNELS), weights, None, channels=len(weight), pixels=PIXELS)


@torch.library.custom_op("dla::image_convolution_weight_gradient", mutates_args=(), device_types="cuda")
def image_convolution_weight_gradient(image: Tensor, gradient: Tensor, window: int) -> Tensor:
    """Gradient of the weight of `image_convolution`, (o, c, k, k), from that of its result, (b, o, h, w)."""
    from dla.kernels import rows

    gradient = gradient.contiguous(memory_format=torch.channels_last)
    of_packed = rows.weight_gradient(filled(image, CHANNELS), gradient, window=window, pixels=PIXELS)
    shape = (gradient.shape[1], image.shape[1], window, window)
    return unpacked(of_packed, shape, CHANNELS, PIXELS).to(image.dtype).contiguous()


@image_convolution.register_fake
def _(image: Tensor, weight: Tensor) -> Tensor:
    shape = (image.shape[0], weight.shape[0], *image.shape[2:])
    return torch.empty(shape, dtype=image.dtype, device=image.device, memory_format=torch.channels_last)


@image_convolution_weight_gradient.register_fake
def _(image: Tensor, gradient: Tensor, window: int) -> Tensor:
    return image.new_empty((gradient.shape[1], image.shape[1], window, window))


def _save(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)  # the image as it was given: filling it up once more takes less than keeping that


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
    image, weight = ctx.saved_tensors
    window = weight.shape[-1]
    of_image = of_weight = None
    if ctx.needs_input_grad[0]:
        of_image = conv2d_input(image.shape, weight, gradient, padding=window // 2)
    if ctx.needs_input_grad[1]:
        of_weight = image_convolution_weight_gradient(image, gradient, window)
    return of_image, of_weight


image_convolution.register_autograd(_backward, setup_context=_save)
