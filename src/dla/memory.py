"""What training needs in memory beside parameters and gradients, counted and not computed.

`training_memory` is the figure of a whole step, and takes seconds to count. `saved_bytes` is what plain training keeps
from the forward pass for the backward pass, and is counted at once.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from dla.recompute import recomputing


def training_memory(
    make_model: Callable[[], nn.Module], size: int = 224, batch: int = 8, *, recompute: int | None = None
) -> float:
    """Bytes an image that a training step needs: the larger of two counts.

    One is of activations after the forward pass, the other of activations and temporaries at the instant of the step at
    which all memory together is largest. PyTorch's MemTracker counts both over fake tensors, in float32, so that the
    figure is the same on every machine.

    Args:
        make_model: makes the network, which takes images (b, 3, size, size) and gives one tensor.
        size: of the images.
        batch: over which the figure is averaged.
        recompute: the step runs within `dla.recomputing(macs=recompute)`; None leaves it to the network, of which ours
            recompute unless `set_memory_efficient(False)` says otherwise.
    """
    # Here, since they take as long to import as torch itself.
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.distributed._tools.mem_tracker import MemTracker, _MemRefType

    def count(when: str, *kinds: _MemRefType) -> int:
        return sum(counts[kind] for counts in tracker.get_tracker_snapshot(when).values() for kind in kinds)

    with FakeTensorMode():
        model, images = make_model().train(), torch.randn(batch, 3, size, size)
        tracker = MemTracker()
        tracker.track_external(model, images)
        with tracker:
            with recomputing(recompute is not None, macs=recompute or 0):
                loss = model(images).sum()
            kept = count("current", _MemRefType.ACT)
            loss.backward()
            highest = count("peak", _MemRefType.ACT, _MemRefType.TEMP)
    return max(kept, highest) / batch


def saved_bytes(model: nn.Module, example: Any) -> int:
    """Bytes of the tensors that `model(example)` keeps for its backward pass, each storage counted once.

    Parameters and buffers are there anyway and do not count; the example does where a layer keeps it. Nothing is
    computed where the model and the example are on the meta device, and the count is the same. It is of plain training:
    within the hooks that count here, our networks do not recompute.

    Args:
        model: in the mode in which it is measured, usually `train()`.
        example: the input of one call, such as images (b, 3, h, w).
    """
    there = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}  # holds the tensors, so that no storage is freed and its address taken by another

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        out = model(example)
    del out
    return sum(tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in there)
