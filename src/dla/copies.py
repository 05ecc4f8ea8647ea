"""Copies of networks, which PyTorch alone refuses where they keep what they have computed."""

import copy

from torch import Tensor, nn


def copied(model: nn.Module) -> nn.Module:
    """A copy, also where modules keep tensors that gradients go through.

    So do those that are pruned, whose hooks compute the copy's at its first call, and some of timm's transformers,
    which remember the biases of their attention. By themselves such tensors refuse to be copied.

    Raises:
        TypeError: a module holds what nobody can copy, such as a lock.
    """
    kept = [value for module in model.modules() for value in vars(module).values()]
    tensors = [tensor for value in kept for tensor in (value.values() if isinstance(value, dict) else [value])]
    through = {id(x): x.detach() for x in tensors if isinstance(x, Tensor) and not x.is_leaf}
    try:
        return copy.deepcopy(model, through)
    except TypeError as error:
        raise TypeError(
            f"the network cannot be copied ({error}): keep locks, open files and the like outside its modules"
        ) from error
