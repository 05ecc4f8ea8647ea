"""What a forward pass keeps for the backward pass."""

import torch
from torch import nn


def kept_bytes(model: nn.Module, x: torch.Tensor) -> int:
    """Bytes that autograd keeps of one forward pass, each storage once, parameters among them."""
    sizes: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = model(x)
    assert out.requires_grad
    return sum(sizes.values())
