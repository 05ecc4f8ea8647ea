"""What is done with networks of any kind: they are copied, and taken out of what trains them."""

import copy

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

AROUND = (nn.DataParallel, DistributedDataParallel, AveragedModel)
AVERAGES_OF_TIMM = "timm.utils.model_ema"


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


def unwrapped(model: nn.Module) -> nn.Module:
    """The network within what compiles it, averages its weights, trains it on several devices, or all of these."""
    around = isinstance(model, AROUND) or type(model).__module__ == AVERAGES_OF_TIMM
    inner = getattr(model, "module" if around else "_orig_mod", None)
    return unwrapped(inner) if isinstance(inner, nn.Module) else model
