"""PyTorch itself as an engine: as it is, and compiled with frozen weights; both with channels last in memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from dla.deploy.cuda_graph import Captured
from dla.deploy.errors import explained
from dla.deploy.gpu import for_gpu
from dla.deploy.outputs import Run, flat
from dla.deploy.sampled import sampled
from dla.kernels.image_conv import HALF, kernels_run_on

MANY = 256  # networks of one class in a process, after which torch runs another as it is; by itself after 8
COUNTED = Lock()  # since torch has one number of threads, which of two callers the second would find changed


def eager(model: nn.Module, example: Tensor, threads: int | None) -> Run:
    """The network run layer by layer; on a GPU all layers are launched at once, in 16 bits with those of `for_gpu`."""
    model, layout = _laid_out(model, example)
    if not example.is_cuda:
        return _run(model, threads, layout)
    if example.dtype in HALF and kernels_run_on(example.device):
        model = for_gpu(model)
    return Captured(model, example)


def compiled(model: nn.Module, example: Tensor, threads: int | None) -> Run:
    """The network through `torch.compile`, its weights constants of the program; compiles at once, for this shape.

    On a GPU with all of the compiler's tuning and CUDA graphs, whose results the next call overwrites: they are copied.

    Raises:
        DeployError: it cannot be compiled, or there is no C++ compiler.
    """
    model, layout = _laid_out(model, example)
    options: dict[str, Any] = {"freezing": True}
    # While the network is traced, too: by the option alone weights stay inputs. oneDNN has none of 64 bits.
    freezes = not example.is_cuda and example.dtype != torch.float64
    if example.is_cuda:
        options |= torch._inductor.list_mode_options("max-autotune")
    fast = torch.compile(model, dynamic=False, options=options)
    run = _of_plain_copies(_run(_copied(fast) if example.is_cuda else fast, threads, layout), layout)
    with (
        explained("compile"),
        torch._inductor.config.patch(freezing=freezes),
        torch._dynamo.config.patch(recompile_limit=MANY),
    ):
        run(example)
    return run


def _laid_out(model: nn.Module, example: Tensor) -> tuple[nn.Module, torch.memory_format]:
    """The network and how its images lie: channels last, unless on a CPU it fails so, as where `view` flattens maps."""
    if not example.is_cuda:
        model = sampled(model)
        try:
            with torch.inference_mode():
                model(example.clone(memory_format=torch.channels_last))
        except RuntimeError:
            return model, torch.contiguous_format
    for parameter in model.parameters():
        if parameter.ndim == 4:  # `nn.Module.to` would fail where there are some of 3D convolutions
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model, torch.channels_last


def _copied(model: Callable[[Tensor], Any]) -> Callable[[Tensor], list[Tensor]]:
    return lambda images: [result.clone() for result in flat(model(images))]


def _of_plain_copies(run: Run, layout: torch.memory_format) -> Run:
    """For images that come in inference mode, need gradients or are of a derived class torch would compile again."""

    @torch.inference_mode(False)
    @torch.no_grad()
    def plain(images: Tensor) -> list[Tensor]:
        return run(images.as_subclass(Tensor).clone(memory_format=layout))

    return plain


def _run(model: Callable[[Tensor], Any], threads: int | None, layout: torch.memory_format) -> Run:
    @torch.no_grad()  # not inference_mode, whose tensors callers could neither change in place nor train on
    def run(images: Tensor) -> list[Tensor]:
        with _threads(threads):
            return flat(model(images.contiguous(memory_format=layout)))

    return run


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """torch with so many threads in the block, one caller at a time; None leaves it as it is."""
    if count is None:
        yield
        return
    with COUNTED:
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)
