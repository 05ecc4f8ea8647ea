"""`export`: what it is given is checked first and left as it was, and nothing that was there is lost."""

import math
import os
import sys
import threading
from pathlib import Path

import pytest
import torch
from disturbed import disturb
from torch import nn
from unexpected import Branched, InPlace

import dla
from dla.deploy import DeployError
from dla.deploy.outputs import difference
from dla.deploy.runtimes import RUNTIMES, module_of
from dla.export import export, write
from dla.export.compare import noise

SHAPE = (1, 3, 9, 8)


@pytest.mark.parametrize("folder", ["model.xml", "model.bin"])
def test_a_folder_of_the_name_is_refused_before_anything_is_replaced(folder, tmp_path):
    (tmp_path / folder).mkdir()
    other = tmp_path / ({"model.xml", "model.bin"} - {folder}).pop()
    other.write_text("what was there")
    with pytest.raises(IsADirectoryError, match=rf"cannot write .*{folder}: it is a folder"):
        export(nn.Conv2d(3, 3, 1), tmp_path / "model.xml", format="openvino", shape=SHAPE)
    assert other.read_text() == "what was there"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.bin", "model.xml"]


@pytest.mark.parametrize("format", RUNTIMES)
@torch.no_grad()
def test_a_network_that_changes_its_images(format, tmp_path):
    model, path = InPlace().eval(), tmp_path / f"model{RUNTIMES[format].suffix}"
    export(model, path, format=format, shape=SHAPE)
    images = torch.randn(SHAPE)
    assert difference([model(images.clone())], module_of(format).load(path)(images)) < 1e-4


def held_open(folder: Path) -> list[str]:
    """What this process has open, or mapped into memory, of the files in a folder."""
    opened = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [line for line in [*opened, *Path("/proc/self/maps").read_text().splitlines()] if str(folder) in line]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what is open")
@pytest.mark.parametrize(("format", "int8"), [*((format, False) for format in RUNTIMES), ("openvino", True)])
def test_a_file_that_runs_is_not_held_open(format, int8, tmp_path):
    """On Windows it could then not take its place, nor be removed."""
    held = []
    export(
        nn.Conv2d(3, 3, 1),
        tmp_path / f"model{RUNTIMES[format].suffix}",
        format=format,
        shape=SHAPE,
        calibration=[torch.randn(SHAPE)] if int8 else None,
        measure=lambda run: held.extend(held_open(tmp_path)),
    )
    assert not held


def test_the_callers_random_numbers_go_on(tmp_path):
    model, before = nn.Conv2d(3, 3, 1), torch.get_rng_state()
    export(model, tmp_path / "model.onnx", format="onnx", shape=SHAPE)
    assert torch.equal(torch.get_rng_state(), before)


class Constant(nn.Module):
    """Its answer depends on images in a way that tracing makes a constant of."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * float(x.numpy(force=True).mean())


def test_what_the_exporter_made_a_constant_is_found(tmp_path):
    with pytest.raises(DeployError, match="differs from the network"):
        export(Constant(), tmp_path / "model.ncnn.param", format="ncnn", shape=SHAPE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_networks_are_in_float32(dtype, tmp_path):
    with pytest.raises(ValueError, match=rf"onnx takes networks in float32, not {dtype}: give model.float\(\)"):
        export(nn.Conv2d(3, 3, 1).to(dtype), tmp_path / "model.onnx", format="onnx", shape=SHAPE)


@pytest.mark.parametrize("shape", [(0, 3, 9, 8), (1, 3, 0, 8), (3, 9, 8)])
@pytest.mark.usefixtures("unchecked_shapes")
def test_wrong_shapes(shape, tmp_path):
    with pytest.raises(ValueError, match=r"shape must be \(batch, channels, height, width\), at least 1 each, not \("):
        export(nn.Conv2d(3, 3, 1), tmp_path / "model.onnx", format="onnx", shape=shape)


def test_a_tolerance_that_nothing_meets(tmp_path):
    with pytest.raises(ValueError, match="tolerance must be at least 0, not nan"):
        export(nn.Conv2d(3, 3, 1), tmp_path / "model.onnx", format="onnx", shape=SHAPE, tolerance=math.nan)


@pytest.mark.parametrize("metadata", [{"dla.mean": [0.4, 0.5, 0.6]}, {"note": None}, {1: "text"}])
@pytest.mark.parametrize("format", RUNTIMES)
def test_metadata_that_are_no_texts(format, metadata, tmp_path):
    path = tmp_path / f"model{RUNTIMES[format].suffix}"
    with pytest.raises(ValueError, match=r"metadata must be texts by their names, not .*; json.dumps makes texts"):
        export(nn.Conv2d(3, 2, 1), path, format=format, shape=(1, 3, 8, 8), metadata=metadata)
    assert not list(tmp_path.iterdir())


def test_a_network_that_cannot_be_copied(tmp_path):
    model = nn.Conv2d(3, 3, 1)
    model.lock = threading.Lock()
    with pytest.raises(TypeError, match=r"cannot be copied .*lock.*: keep locks, open files and the like outside"):
        export(model, tmp_path / "model.onnx", format="onnx", shape=SHAPE)


@pytest.mark.parametrize(
    ("model", "error", "remedy"),
    [
        (nn.Conv2d(3, 3, 1), "Given groups=1", "a shape of its channels"),
        (nn.Linear(9, 3), "(addmm: )?mat1 and mat2", "a --size that it takes, without --dynamic"),
    ],
)
def test_images_that_the_network_itself_does_not_take(model, error, remedy, tmp_path):
    with pytest.raises(DeployError, match=rf"itself fails on images of \(1, 4, 9, 8\) \({error}.*: give {remedy}$"):
        export(model, tmp_path / "model.onnx", format="onnx", shape=(1, 4, 9, 8))


@pytest.mark.parametrize("in_chans", [3, (3, 3, 1)])
def test_images_of_other_channels(tmp_path, in_chans):
    model = dla.create_model("dla46_c", num_classes=2, in_chans=in_chans)
    with pytest.raises(DeployError, match=r"fails on images of \(1, 4, 33, 33\) .*: give a shape of its channels$"):
        export(model, tmp_path / "model.onnx", format="onnx", shape=(1, 4, 33, 33))


class Even(nn.Conv2d):
    """Leaves out the last column of odd widths: torch.export keeps the branch that the example took."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x[..., :-1] if x.shape[-1] % 2 else x)


@pytest.mark.parametrize("size", [(65, 97), (64, 96)])
def test_a_program_that_is_tied_to_some_sizes_is_refused(size, tmp_path):
    model = Even(3, 3, 1).eval()
    with pytest.raises(DeployError, match=r"fails on images of \(2, 3, .* give another --format, or a --size") as error:
        export(model, tmp_path / "model.pt2", format="torch-export", shape=(1, 3, *size), dynamic=True)
    assert len(str(error.value)) < 500
    assert not list(tmp_path.iterdir())


def test_what_a_runtime_raises_is_explained(tmp_path, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no such\noperation " + "x" * 1000)

    monkeypatch.setattr(module_of("onnx"), "write", fail)
    with pytest.raises(DeployError, match=r"onnx cannot take the network \(no such operation x+ \.\.\.\): use another"):
        export(nn.Conv2d(3, 3, 1), tmp_path / "model.onnx", format="onnx", shape=SHAPE)
    assert not list(tmp_path.iterdir())


def test_a_broken_runtime_is_named(monkeypatch):
    def broken(name: str) -> object:
        raise ImportError(f"{name}.so: cannot open shared object file")

    monkeypatch.setattr("importlib.import_module", broken)
    with pytest.raises(DeployError, match=r"ncnn needs ncnn, which is broken \(ncnn.so: cannot open .*: reinstall it"):
        module_of("ncnn")


def test_float32_files_of_openvino_need_no_nncf(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "nncf", None)
    export(nn.Conv2d(3, 3, 1), tmp_path / "model.xml", format="openvino", shape=SHAPE)
    with pytest.raises(DeployError, match="openvino needs nncf, which is not installed"):
        export(nn.Conv2d(3, 3, 1), tmp_path / "8.xml", format="openvino", shape=SHAPE, calibration=[torch.randn(SHAPE)])


@pytest.mark.parametrize("calibration", [None, [noise(SHAPE, seed=0)]])
def test_a_network_that_folding_would_change_is_not_folded(calibration, tmp_path):
    torch.manual_seed(0)
    model = disturb(Branched())
    (found,) = export(model, tmp_path / "x.onnx", format="onnx", shape=SHAPE, calibration=calibration)
    assert found.difference < (1e-5 if calibration is None else 0.5)  # of one small image the ranges are poor


def test_the_companion_reaches_the_disk_first(monkeypatch, tmp_path):
    sizes: list[int] = []
    monkeypatch.setattr("os.fsync", lambda number: sizes.append(os.fstat(number).st_size))
    with write._written(tmp_path / "model.xml", ".bin") as temporary:
        temporary.write_text("xml")
        temporary.with_suffix(".bin").write_text("weights")
    assert sizes == [len("weights"), len("xml")]
