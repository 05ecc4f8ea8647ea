"""What stands around a network while it is trained."""

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

AROUND = (nn.DataParallel, DistributedDataParallel, AveragedModel)
AVERAGES_OF_TIMM = "timm.utils.model_ema"


def unwrapped(model: nn.Module) -> nn.Module:
    """The network within what compiles it, averages its weights, trains it on several devices, or all of these."""
    around = isinstance(model, AROUND) or type(model).__module__ == AVERAGES_OF_TIMM
    inner = getattr(model, "module" if around else "_orig_mod", None)
    return unwrapped(inner) if isinstance(inner, nn.Module) else model
