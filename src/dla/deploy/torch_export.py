"""Files of `torch.export`: PyTorch's own programs, without this package, run on any device."""

import io
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from dla.deploy.outputs import Metadata, Run, flat
from dla.deploy.sampled import sampled


def write(model: nn.Module, example: Tensor, path: Path, *, dynamic: bool, metadata: Metadata) -> None:
    """Write one file; the metadata are texts in it, which `torch.export.load` hands out by `extra_files`."""
    axes = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC) if dynamic else None
    model = sampled(model)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.export.export(model, (example,), dynamic_shapes=(axes,))
    content = io.BytesIO()  # since torch's own writer, where the disk is full, ends the process
    torch.export.save(program, content, extra_files=dict(metadata))
    path.write_bytes(content.getbuffer())


def load(path: Path, *, threads: int | None = None) -> Run:
    """The program; it runs with torch's own number of threads."""
    program = torch.export.load(path).module()

    @torch.inference_mode()
    def run(images: Tensor) -> list[Tensor]:
        return flat(program(images))

    return run
