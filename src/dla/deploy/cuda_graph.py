"""A network on a GPU as one CUDA graph, which is launched as a whole."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import torch
from torch import Tensor, nn

from dla.deploy.errors import DeployError
from dla.deploy.outputs import flat


class Captured:
    """A model on a GPU as one CUDA graph: for small batches, launching the layers takes longer than what they do.

    Raises:
        DeployError: the model does what a graph cannot hold, such as waiting for the GPU.
    """

    @torch.inference_mode()
    def __init__(self, model: nn.Module, example: Tensor) -> None:
        self.model = model  # whose weights the graph reads where they lie
        self.images = example.contiguous(memory_format=torch.channels_last).clone()
        self.graph = torch.cuda.CUDAGraph()
        self.free, self.done = Lock(), torch.cuda.Event()  # else another thread's images would take the place of these
        try:
            with torch.cuda.device_of(example), _fastest_convolutions():
                _warm_up(model, self.images)
                # By itself it takes one stream for all graphs of the process, which may be another GPU's.
                with torch.cuda.graph(self.graph, stream=torch.cuda.Stream()):
                    self.outputs = flat(model(self.images))
        except RuntimeError as error:
            raise DeployError(f"the network cannot become a CUDA graph ({error}): use the engine compile") from error

    @torch.no_grad()
    def __call__(self, images: Tensor) -> list[Tensor]:
        """All outputs, copied, since the next call overwrites them."""
        stream = torch.cuda.current_stream(self.images.device)
        with self.free:
            stream.wait_event(self.done)  # of a caller in another stream, who may still be computing
            with torch.inference_mode():
                self.images.copy_(images)
                self.graph.replay()
            answers = [output.clone() for output in self.outputs]  # here, since callers may change copies in place
            self.done.record(stream)
        return answers


def _warm_up(model: nn.Module, images: Tensor) -> None:
    """Calls in a stream of their own, as CUDA asks for before a graph is captured.

    Raises:
        RuntimeError: the model waits for the GPU; begun within a graph, that would leave CUDA in disorder.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        model(images)
        model(images)
        with _refusing_to_wait():
            model(images)
    torch.cuda.current_stream().wait_stream(stream)


@contextmanager
def _refusing_to_wait() -> Iterator[None]:
    """What waits for the GPU is an error in the block."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that it does not find all that waits
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


@contextmanager
def _fastest_convolutions() -> Iterator[None]:
    """cudnn tries its algorithms in the block, and takes the fastest."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
