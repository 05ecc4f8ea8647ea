"""What a network costs, counted: its learned numbers, and its multiply-accumulates over one image."""

import math
from typing import Any

import torch
from torch import nn


def parameters(module: nn.Module) -> int:
    """How many numbers are learned."""
    return sum(p.numel() for p in module.parameters())


def macs(module: nn.Module, size: tuple[int, int] = (224, 224)) -> int:
    """Multiply-accumulates over one image of this height and width; on PyTorch's meta device nothing is computed.

    Of a network of several images it is one of each. Counted are convolutions, also transposed and deformable ones,
    linear layers, attention and other products of matrices.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    first = next(layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear))
    # That layer may see one of several images, of which the network whose stem it is takes all.
    of_several = (part for part in module.modules() if hasattr(part, "image_channels") and first in part.modules())
    channels = getattr(next(of_several, None), "in_chans", first.weight.shape[1])
    image = torch.zeros(1, channels, *size, dtype=first.weight.dtype, device=first.weight.device)
    # In PyTorch's own fast path attention is one operation, which is not counted and cannot run on the meta device.
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    # The counter asks outputs that can be learned from for gradients, which without gradients they do not have.
    learned = [parameter.requires_grad_(False) for parameter in module.parameters() if parameter.requires_grad]
    try:
        counter = FlopCounterMode(display=False, custom_mapping=_unknown_to_pytorch())
        with torch.no_grad(), counter, sdpa_kernel(SDPBackend.MATH):  # a CPU's own kernel is not counted either
            module(image)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for parameter in learned:
            parameter.requires_grad_()
    return counter.get_total_flops() // 2


def _unknown_to_pytorch() -> dict[Any, Any]:
    """Operations of which it does not know how much they multiply; torchvision's is there once a network imports it."""
    deformable = getattr(torch.ops.torchvision, "deform_conv2d", None)
    return {} if deformable is None else {deformable: _deformable}


def _deformable(x: torch.Size, weight: torch.Size, *_: Any, out_shape: torch.Size, **__: Any) -> int:
    return 2 * math.prod(out_shape) * math.prod(weight[1:])
