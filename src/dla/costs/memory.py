"""What training needs in memory beside parameters and gradients, counted and not computed."""

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from dla.recompute import recomputing


def training_memory(
    make_model: Callable[[], nn.Module],
    size: tuple[int, int] = (224, 224),
    batch: int = 8,
    *,
    recompute: int | None = None,
    in_chans: int = 3,
) -> float:
    """Bytes an image that a training step needs: the larger of two counts.

    One is of activations after the forward pass, the other of activations and temporaries at the instant of the step at
    which all memory together is largest. PyTorch's MemTracker counts both over fake tensors, in float32, so that the
    figure is the same on every machine; it takes seconds. Before torch 2.10 MemTracker misses that maps which were
    computed again are freed: the figure of what recomputes is too high there, of which a warning tells.

    Args:
        make_model: makes the network, which takes images (b, in_chans, h, w) and gives one tensor.
        size: height and width of the images.
        batch: over which the figure is averaged.
        recompute: the step runs within `dla.recomputing(macs=recompute)`; None leaves it to the network, of which ours
            recompute unless `set_memory_efficient(False)` says otherwise.
        in_chans: channels of the images.

    Raises:
        TypeError: `make_model` is no function.
        ValueError: `size` or `batch` is none, the network gives something other than one tensor, or nothing in it is
            trained.
    """
    _check(make_model, size, batch)
    # Here, since they take as long to import as torch itself.
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.distributed._tools.mem_tracker import MemTracker, _MemRefType

    def count(when: str, *kinds: _MemRefType) -> int:
        return sum(counts[kind] for counts in tracker.get_tracker_snapshot(when).values() for kind in kinds)

    with torch.device("meta"):  # where values that decide how a network is built are real, unlike in the fake mode
        model = _frozen_as_buffers(make_model().train())
    if torch.__version__ < "2.10" and (recompute is not None or recomputes(model)):
        warnings.warn(
            f"torch {torch.__version__} counts too much where maps are computed again: use 2.10", stacklevel=2
        )
    with FakeTensorMode(allow_non_fake_inputs=True):
        for module in model.modules():  # one by one, since what is shared would be met twice
            module.to_empty(device="cpu", recurse=False)
        images = torch.randn(batch, in_chans, *size)
        tracker = MemTracker()
        tracker.track_external(model, images)
        with tracker:
            with recomputing(recompute is not None, macs=recompute or 0):
                loss = _loss(model(images))
            kept = count("current", _MemRefType.ACT)
            loss.backward()
            highest = count("peak", _MemRefType.ACT, _MemRefType.TEMP)
    return max(kept, highest) / batch


def _check(make_model: object, size: object, batch: int) -> None:
    if isinstance(make_model, nn.Module) or not callable(make_model):
        raise TypeError(
            f"make_model is a {type(make_model).__name__}; expected a function that makes it, as lambda: "
            'dla.create_model("dla34")'
        )
    if isinstance(size, str) or not isinstance(size, Sequence) or len(size) != 2 or not all(map(_positive, size)):
        raise ValueError(f"size is {size!r}; expected height and width, such as (224, 224)")
    if not _positive(batch):
        raise ValueError(f"batch is {batch}; expected a number of images of at least 1")


def _positive(number: object) -> bool:
    return isinstance(number, int) and number >= 1


def _frozen_as_buffers(model: nn.Module) -> nn.Module:
    """MemTracker hooks every parameter, which one without a gradient refuses; buffers it counts alike."""
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError("nothing in the network is trained: set requires_grad of some of its parameters")
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if not parameter.requires_grad:
                delattr(module, name)
                module.register_buffer(name, parameter.detach())
    return model


def _loss(out: object) -> Tensor:
    if not isinstance(out, Tensor):
        raise ValueError(f"in training the network gives a {type(out).__name__}; expected one that gives a tensor")
    return out.sum()


def recomputes(model: nn.Module) -> bool:
    """Whether the network, trained on anything but a GPU, computes cheap results again instead of keeping them."""
    return getattr(model, "memory_efficient", False) is not False
