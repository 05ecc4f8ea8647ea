"""ncnn files: NAME.ncnn.param, the graph, and NAME.ncnn.bin, the weights. One size of image."""

import subprocess
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from dla.deploy.errors import DeployError
from dla.deploy.ncnn_graph import spare_winograd
from dla.deploy.ncnn_layers import for_ncnn
from dla.deploy.outputs import Metadata, Run, flat

HALF = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_packed", "use_bf16_storage")


def write(model: nn.Module, example: Tensor, path: Path, *, dynamic: bool, metadata: Metadata) -> None:
    """Write graph and weights, by pnnx; there is no place for metadata.

    The graph has the layers of `dla.deploy.ncnn_layers`, and says where to leave Winograd's transform.

    Raises:
        DeployError: another size is asked for than that of `example`, pnnx or ncnn do not know an operation, the
            network decides by an image's numbers, or an output has no axis but the batch, or is empty.
    """
    if dynamic:
        raise DeployError("ncnn files are of one image size, and crash at others: leave out --dynamic, and give --size")
    with TemporaryDirectory() as folder:
        traced = Path(folder) / "model.pt"
        _trace(for_ncnn(model), example[:1]).save(traced)
        graph = _convert(traced, f"inputshape={list(example[:1].shape)}".replace(" ", ""))
        path.write_text(spare_winograd(graph.read_text(), _counter(graph, example[0])))
        path.with_suffix(".bin").write_bytes(graph.with_suffix(".bin").read_bytes())


def _trace(model: nn.Module, example: Tensor) -> torch.jit.ScriptModule:
    """The only form that pnnx reads."""

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
            outputs = flat(self.model(images))
            if any(output.ndim < 2 for output in outputs):
                raise DeployError("an output has one number for each image, which ncnn cannot give: use another engine")
            if any(len(output) != len(images) for output in outputs):
                raise DeployError("an output's first axis is not that of the images: use another engine or format")
            if not all(output.numel() for output in outputs):  # with which pnnx never ends
                raise DeployError("an output is empty, which ncnn cannot give: use another engine")
            return outputs[0] if len(outputs) == 1 else tuple(outputs)

    with torch.no_grad(), Undecided():  # not inference_mode, in which `.item()` has another name
        model(example.clone())
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # tracing is deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]  # sizes become constants, and are meant to
        traced = torch.jit.trace(Flat(), example, check_trace=False)
    assert isinstance(traced, torch.jit.ScriptModule)
    return traced


class Undecided(TorchDispatchMode):
    """Refuses what reads a number out of a tensor: what follows from it would become a constant of the graph."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation.

        Raises:
            DeployError: it is `.item()`, or `if` on a tensor.
        """
        if func is torch.ops.aten._local_scalar_dense.default:
            raise DeployError(
                "the network reads a number out of a tensor (.item(), `if` on a tensor), by which ncnn cannot decide: "
                "use another engine or format"
            )
        return func(*args, **(kwargs or {}))


def _convert(traced: Path, shape: str) -> Path:
    """The graph, beside the traced network."""
    import pnnx

    # Its program and not its function, which writes to the terminal whatever it does.
    command = [pnnx.EXEC_PATH, traced.name, shape, "fp16=0"]
    result = subprocess.run(command, cwd=traced.parent, capture_output=True, text=True, check=False)
    graph = traced.parent / "model.ncnn.param"
    if result.returncode or not graph.exists():
        said = " ".join(result.stderr.split())[-300:]
        raise DeployError(f"pnnx cannot convert the network to ncnn ({said}): use another engine or format")
    return graph


def _net(path: Path, threads: int) -> Any:
    """The network of a file, which computes in float32."""
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads  # before loading, which lays out weights for them
    for name in HALF:
        setattr(net.opt, name, False)
    if net.load_param(str(path)) or net.load_model(str(path.with_suffix(".bin"))):
        raise DeployError(f"ncnn cannot load {path}: it lacks a layer of the network; use another engine or format")
    return net


def _given(net: Any, image: Tensor) -> Any:
    """An extractor, which computes what is asked of it for this image."""
    import ncnn

    extractor, numbers = net.create_extractor(), image.contiguous().numpy(force=True)
    # Cloned, since it only refers to the array's memory, which may be gone when something is asked for.
    extractor.input(net.input_names()[0], ncnn.Mat(numbers).clone())
    return extractor


def _counter(graph: Path, image: Tensor) -> Callable[[str], int]:
    """What counts the positions of the map of a name."""
    extractor = _given(_net(graph, threads=1), image)
    extractor.set_light_mode(False)  # keeps the maps, since all are asked for

    def positions(name: str) -> int:
        found = extractor.extract(name)[1]
        return int(found.w * found.h)

    return positions


def load(path: Path, *, threads: int | None = None, batch: int = 1) -> Run:
    """A net that runs images one after another, or some beside each other.

    Args:
        path: of the graph.
        threads: for all that runs at once; ncnn decides for None.
        batch: images that will come at once; as many as there are threads run beside each other, each in its share.

    Raises:
        DeployError: the file holds a layer that ncnn does not have.
    """
    import ncnn

    threads = threads or ncnn.get_physical_big_cpu_count()
    beside = min(batch, threads)
    net, workers = _net(path, threads // beside), ThreadPoolExecutor(beside)
    outputs = sorted(net.output_names(), key=lambda name: int(name.removeprefix("out")))  # ncnn's order is the graph's

    def one(image: Tensor) -> list[Tensor]:
        with _given(net, image) as extractor:
            # Copied, since the extractor owns the memory.
            return [torch.from_numpy(np.array(extractor.extract(name)[1])) for name in outputs]

    def run(images: Tensor) -> list[Tensor]:
        results = workers.map(one, images) if beside > 1 else map(one, images)
        return [torch.stack(values) for values in zip(*results, strict=True)]

    return run
