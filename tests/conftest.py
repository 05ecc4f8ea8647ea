"""Shapes on public signatures are checked while the tests run; real data is found by DLA_DATA."""

import builtins
import io
import os
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from jaxtyping import install_import_hook
from torch._subclasses import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# What our modules import is imported first: under the hook it would not come from its bytecode, and take seconds more.
FIRST = ("lightning.pytorch", "onnxscript", "scipy.optimize", "timm", "torchmetrics", "torchvision.transforms.v2")


def pytest_configure(config: pytest.Config) -> None:
    """Prepare a process that runs tests; with --numprocesses the first one only hands them out: it starts at once."""
    if config.getoption("numprocesses", None):
        return
    for name in FIRST:
        import_module(name)
    # Only modules that state shapes: to check the types of all others, as of each entry of a checkpoint, takes long.
    source = Path(__file__).parents[1] / "src"
    stating = [path.relative_to(source) for path in sorted(source.rglob("*.py")) if "jaxtyping" in path.read_text()]
    install_import_hook([".".join(path.with_suffix("").parts) for path in stating], "typeguard.typechecked")
    # The functions of which ONNX files are made are read from their source once, not at each of some hundred exports.
    torchlib = import_module("onnxscript._framework_apis.torch_2_5")
    torchlib.get_torchlib_ops = cache(torchlib.get_torchlib_ops)


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Finds a folder of the real data, or skips and says why."""

    def find(name: str) -> Path:
        if "DLA_DATA" not in os.environ:
            pytest.skip("DLA_DATA is not set; it names the folder with the real data sets")
        folder = Path(os.environ["DLA_DATA"]) / name
        if not folder.is_dir():
            pytest.skip(f"no folder {folder}")
        return folder

    return find


@pytest.fixture(scope="session")
def real_camvid(real_data: Callable[[str], Path]) -> Path:
    """The real CamVid."""
    return real_data("camvid")


@pytest.fixture
def western_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text is in the encoding of Windows in the west of Europe, unless whoever opens a file names another."""

    plain = open

    def opened(file: Any, mode: str = "r", buffering: int = -1, encoding: str | None = None, **options: Any) -> Any:
        return plain(file, mode, buffering, encoding if "b" in mode else encoding or "cp1252", **options)

    class Wrapper(io.TextIOWrapper):
        def __init__(self, buffer: Any, encoding: str | None = None, *args: Any, **options: Any) -> None:
            super().__init__(buffer, encoding or "cp1252", *args, **options)

    monkeypatch.setattr(builtins, "open", opened)
    monkeypatch.setattr(io, "TextIOWrapper", Wrapper)
    monkeypatch.setattr(io, "text_encoding", lambda encoding, *_: encoding or "cp1252")


@pytest.fixture
def unchecked_shapes() -> Iterator[None]:
    """No annotation is checked: of traced networks sizes are symbols, and wrong values are to meet our own errors."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


class _Waits(TorchDispatchMode):
    """Notes what makes a processor wait for a GPU: numbers it asks for, and what is sent there and not queued."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        names = [argument.name for argument in func._schema.arguments]
        given = dict(zip(names, args, strict=False)) | (kwargs or {})
        sent = isinstance(out, torch.Tensor) and "non_blocking" in names and out.device != given["self"].device
        asked = func is torch.ops.aten._local_scalar_dense.default and given["self"].is_cuda
        if asked or (sent and not given.get("non_blocking")):
            self.found.append(str(func))
        return out


class _Unawaited(TorchFunctionMode):
    """Notes copies to a device that nobody waits for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if (kwargs or {}).get("non_blocking"):
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.fixture
def unawaited() -> Iterator[list[str]]:
    """Copies in a test that nobody waits for, which only CUDA makes before their source is gone."""
    with _Unawaited() as mode:
        yield mode.found


@pytest.fixture
def waits() -> Iterator[list[str]]:
    """What waits for a GPU in a test, where tensors may be on one that is not there."""
    with FakeTensorMode(), _Waits() as mode:
        yield mode.found
