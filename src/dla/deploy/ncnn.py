"""ncnn files, for small devices: NAME.ncnn.param, the graph, and NAME.ncnn.bin, the weights. One size of image."""

import subprocess
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from dla.deploy.errors import DeployError
from dla.deploy.outputs import Metadata, Run, flat

HALF = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_packed", "use_bf16_storage")


def write(model: nn.Module, example: Tensor, path: Path, *, dynamic: bool, metadata: Metadata) -> None:
    """Write graph and weights, by pnnx; there is no place for metadata.

    Raises:
        DeployError: another size is asked for than that of `example`, or pnnx does not know an operation.
    """
    if dynamic:
        raise DeployError("ncnn files are of one image size, and crash at others: leave out --dynamic, and give --size")
    with TemporaryDirectory() as folder:
        traced = Path(folder) / "model.pt"
        _trace(model, example[:1]).save(traced)
        shape = f"inputshape={list(example[:1].shape)}".replace(" ", "")
        _convert(traced, shape)
        for suffix in (".param", ".bin"):
            written = (traced.parent / f"model.ncnn{suffix}").read_bytes()
            path.with_suffix(suffix).write_bytes(written)


def _trace(model: nn.Module, example: Tensor) -> torch.jit.ScriptModule:
    """The only form that pnnx reads."""

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
            outputs = flat(self.model(images))
            return outputs[0] if len(outputs) == 1 else tuple(outputs)

    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # tracing is deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]  # sizes become constants, and are meant to
        traced = torch.jit.trace(Flat(), example, check_trace=False)
    assert isinstance(traced, torch.jit.ScriptModule)
    return traced


def _convert(traced: Path, shape: str) -> None:
    import pnnx

    # Its program and not its function, which writes to the terminal whatever it does.
    command = [pnnx.EXEC_PATH, traced.name, shape, "fp16=0"]
    result = subprocess.run(command, cwd=traced.parent, capture_output=True, text=True, check=False)
    graph = traced.parent / "model.ncnn.param"
    if result.returncode or not graph.exists():
        raise DeployError(f"pnnx cannot convert the network to ncnn: {result.stderr.strip()[-500:]}")


def load(path: Path, *, threads: int | None = None) -> Run:
    """A net that runs the images of a batch one after another.

    Raises:
        DeployError: the file holds a layer that ncnn does not have.
    """
    import ncnn

    net = ncnn.Net()
    for name in HALF:
        setattr(net.opt, name, False)
    if threads:
        net.opt.num_threads = threads
    if net.load_param(str(path)) or net.load_model(str(path.with_suffix(".bin"))):
        raise DeployError(f"ncnn cannot load {path}: it lacks a layer of the network; use --format onnx")
    inputs, outputs = net.input_names(), net.output_names()

    def one(image: Tensor) -> list[Tensor]:
        with net.create_extractor() as extractor:
            extractor.input(inputs[0], ncnn.Mat(image.contiguous().numpy()))
            # Copied, since the extractor owns the memory.
            return [torch.from_numpy(np.array(extractor.extract(name)[1])) for name in outputs]

    def run(images: Tensor) -> list[Tensor]:
        return [torch.stack(values) for values in zip(*map(one, images), strict=True)]

    return run
