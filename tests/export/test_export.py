"""`dla export`: every file is run by its own runtime, holds its metadata, and nothing is left of one that is wrong."""

import json
import re
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from disturbed import disturbed
from image_files import save_image
from run_files import save_checkpoint

import dla
from dla.deploy.outputs import difference
from dla.deploy.runtimes import module_of
from dla.export import export
from dla.export.command import main

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "ncnn": ".ncnn.param", "torch-export": ".pt2"}
CLASSES = ["wall", "crack", "void"]


network = partial(disturbed, num_classes=3)


@pytest.fixture
def checkpoint(tmp_path) -> str:
    facts = {"num_classes": 3, "classes": CLASSES, "mean": [0.5] * 3, "std": [0.25] * 3}
    facts |= {"model": "dla46_cida", "colors": [[0, 0, 0], [255, 0, 0], [0, 255, 0]]}
    return save_checkpoint(tmp_path / "best.ckpt", network("dla46_cida"), **facts)


def pictures(
    folder: Path, count: int, kind: str = "jpg", high: int = 256, shape: tuple[int, ...] = (40, 50, 3)
) -> None:
    rng = np.random.default_rng(0)
    for number in range(count):
        save_image(folder / f"{number}.{kind}", rng.integers(0, high, shape, dtype=np.uint8))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dla46_c", "dla46_cup", "resnet18+ida", "test_convnext+ida"])
@pytest.mark.parametrize("format", ["onnx", "openvino", "torch-export"])
@pytest.mark.usefixtures("unchecked_shapes")
@torch.no_grad()
def test_any_batch_and_size(format, name, tmp_path):
    model, path = network(name), tmp_path / f"model{SUFFIXES[format]}"
    compared = export(model, path, format=format, shape=(1, 3, 64, 96), dynamic=True)
    assert [found.shape for found in compared] == [(1, 3, 64, 96), (2, 3, 70, 97), (2, 3, 64, 128)]
    run = module_of(format).load(path, threads=1)
    for shape in ((3, 3, 33, 130), (1, 3, 128, 64)):
        x = torch.randn(shape)
        assert difference([model(x)], run(x)) < 1e-4


@pytest.mark.usefixtures("unchecked_shapes")
def test_ncnn_takes_images_that_a_backbone_sees_padded(tmp_path):
    """A remainder of a negative number is another one to ncnn's converter."""
    (compared,) = export(network("test_convnext+ida"), tmp_path / "x.ncnn.param", format="ncnn", shape=(1, 3, 70, 97))
    assert compared.shape == (1, 3, 70, 97)


@pytest.mark.parametrize("name", [pytest.param("dla46_c", marks=pytest.mark.slow), "dla46_cup"])
@pytest.mark.usefixtures("unchecked_shapes")
@torch.no_grad()
def test_torch_exports_with_any_size_by_itself(name):
    """Also without our command, and from an example whose maps are cropped as well as from one whose are not."""
    model, sizes = network(name), dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    for example in ((2, 3, 64, 64), (2, 3, 70, 99)):
        exported = torch.export.export(model, (torch.randn(example),), dynamic_shapes=(sizes,)).module()
        for shape in ((1, 3, 70, 97), (3, 3, 33, 47), (1, 3, 64, 128)):
            x = torch.randn(shape)
            torch.testing.assert_close(exported(x), model(x))


@pytest.mark.slow
def test_metadata_and_the_printed_difference(tmp_path, checkpoint, capsys):
    import onnx
    import openvino

    expected = {"classes": CLASSES, "mean": [0.5] * 3, "size": [33, 47], "task": "segmentation", "crop": None}
    for format in ("onnx", "openvino", "torch-export"):
        path = str(tmp_path / f"model{SUFFIXES[format]}")
        assert main([checkpoint, "--format", format, "--output", path, "--size", "33", "47"]) == 0
        assert "images of (1, 3, 33, 47): differs by at most " in capsys.readouterr().out
        if format == "onnx":
            facts = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
        elif format == "openvino":
            model = openvino.Core().read_model(path)
            facts = {f"dla.{key}": model.get_rt_info(["dla", f"dla.{key}"]).astype(str) for key in expected}
        else:
            facts = dict.fromkeys((f"dla.{key}" for key in expected), "")
            torch.export.load(path, extra_files=facts)
        assert {key: json.loads(facts[f"dla.{key}"]) for key in expected} == expected


def test_a_file_that_differs_leaves_nothing(tmp_path, checkpoint, capsys):
    (tmp_path / "out").mkdir()
    old = tmp_path / "out" / "model.xml"
    old.write_text("what was there")
    arguments = [checkpoint, "--format", "openvino", "--size", "33", "47", "--output", str(old)]
    assert main([*arguments, "--tolerance", "1e-12"]) == 2
    assert "differs from the network by" in capsys.readouterr().err
    assert [path.name for path in old.parent.iterdir()] == ["model.xml"]
    assert old.read_text() == "what was there"


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked_shapes")
def test_openvino_refuses_images_for_which_it_would_give_another_result(tmp_path):
    from dla.deploy import openvino

    model, path = network("dla46_cida"), tmp_path / "model.xml"
    export(model, path, format="openvino", shape=(1, 3, 64, 64), dynamic=True)
    run = openvino.load(path)
    for size in ((32, 40), (47, 33), (33, 32), (32, 32)):
        images = torch.randn(2, 3, *size)
        with torch.no_grad():
            assert difference([model(images)], run(images)) < 1e-4
        for small in (31, 24, 17, 16):  # between others, since it gives the result of the call before
            with pytest.raises(RuntimeError, match="compatible"):
                run(torch.randn(2, 3, small, 40))


@pytest.mark.parametrize("format", ["onnx", pytest.param("openvino", marks=pytest.mark.slow)])
def test_int8_of_a_segmentation_network(format, tmp_path, checkpoint, capsys):
    pictures(tmp_path / "data" / "val", 3)
    pictures(tmp_path / "data" / "valannot", 3, "png", high=3, shape=(40, 50))
    path = tmp_path / f"model{SUFFIXES[format]}"
    arguments = [checkpoint, "--format", format, "--output", str(path), "--size", "64", "64", "--int8"]
    data = ["--calibration", str(tmp_path / "data" / "val"), "--test", str(tmp_path / "data")]
    assert main([*arguments, *data]) == 0
    said = capsys.readouterr().out
    assert "mean IoU of the network: 0." in said
    assert "mean IoU of the file:    0." in said
    x = torch.randn(1, 3, 64, 64)
    assert 1e-4 < difference([network("dla46_cida")(x).detach()], module_of(format).load(path, threads=1)(x)) < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "openvino"])
@pytest.mark.usefixtures("unchecked_shapes")
def test_int8_takes_any_size(format, tmp_path, checkpoint):
    pictures(tmp_path / "photos", 3)
    path = tmp_path / f"model{SUFFIXES[format]}"
    arguments = [checkpoint, "--format", format, "--output", str(path), "--size", "64", "64", "--int8", "--dynamic"]
    assert main([*arguments, "--calibration", str(tmp_path / "photos")]) == 0
    run = module_of(format).load(path, threads=1)
    for shape in ((1, 3, 64, 64), (2, 3, 71, 90)):
        x = torch.randn(shape)
        assert 1e-4 < difference([network("dla46_cida")(x).detach()], run(x)) < 0.5


@pytest.mark.slow
def test_int8_of_a_classifier_measures_top_1(tmp_path, capsys):
    facts = {"num_classes": 2, "classes": ["a", "b"], "mean": [0.5] * 3, "std": [0.25] * 3, "resize": 40, "crop": 33}
    facts |= {"model": "dla46_c", "task": "classification"}
    checkpoint = save_checkpoint(tmp_path / "best.ckpt", disturbed("dla46_c", num_classes=2), **facts)
    for kind in ("a", "b"):
        pictures(tmp_path / "data" / "val" / kind, 2)
    output = str(tmp_path / "model.onnx")
    arguments = [checkpoint, "--format", "onnx", "--output", output, "--int8"]
    assert main([*arguments, "--calibration", f"{tmp_path}/data/val", "--test", f"{tmp_path}/data"]) == 0
    # Both folders hold the same pictures, so that half of the answers are right whatever they are.
    said = capsys.readouterr().out
    assert "\ntop-1 accuracy of the network: 0.5000\ntop-1 accuracy of the file:    0.5000\n" in said


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_int8_of_a_boundary_network_measures_ods(format, tmp_path, capsys):
    facts = {"num_classes": 2, "classes": ["background", "boundary"], "mean": [0.5] * 3, "std": [0.25] * 3}
    facts |= {"model": "dla46_cup", "task": "boundaries", "colors": [[0, 0, 0], [255, 0, 0]]}
    trained = dla.create_model("dla46_cup.bsds500", pretrained=True)  # random weights may find no boundary
    checkpoint = save_checkpoint(tmp_path / "best.ckpt", trained, **facts)
    pictures(tmp_path / "data" / "images" / "val", 2)
    for number in range(2):
        drawn = np.random.default_rng(number).random((40, 50)) < 0.45
        save_image(tmp_path / "data" / "groundTruth" / "val" / f"{number}.png", drawn)
    output = str(tmp_path / f"model{SUFFIXES[format]}")
    arguments = [checkpoint, "--format", format, "--output", output, "--int8", "--size", "64", "64"]
    data = ["--calibration", str(tmp_path / "data" / "images"), "--test", str(tmp_path / "data")]
    assert main([*arguments, *data]) == 0
    network, file = (float(ods) for ods in re.findall(r"^ODS of the \w+: +(0\.\d{4})$", capsys.readouterr().out, re.M))
    assert 0 < file < 1
    assert abs(network - file) < 0.05


def test_nothing_is_measured_before_there_is_a_file(tmp_path, checkpoint, capsys):
    pictures(tmp_path / "data" / "val", 1)
    pictures(tmp_path / "data" / "valannot", 1, "png", high=3, shape=(40, 50))
    arguments = [checkpoint, "--format", "onnx", "--output", str(tmp_path / "no" / "x.onnx"), "--size", "64", "64"]
    assert main([*arguments, "--test", str(tmp_path / "data")]) == 2
    said = capsys.readouterr()
    assert "create it first" in said.err
    assert "mean IoU" not in said.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dla46_c", "--format", "onnx", "--output", "x.pt2"], "x.pt2 does not end in .onnx"),
        (["dla35", "--format", "onnx", "--output", "x.onnx"], "dla35 is neither a checkpoint file nor"),
        (["dla46_c", "--format", "onnx", "--output", "no/x.onnx"], "there is no folder no; create it first"),
        (["dla46_c", "--format", "onnx", "--output", "x.onnx", "--int8"], "--calibration FOLDER belong together"),
        (
            ["dla46_c", "--format", "ncnn", "--output", "x.ncnn.param", "--int8", "--calibration", "photos"],
            "ncnn has no int8 here: choose one of onnx, openvino",
        ),
        (
            ["dla46_c", "--format", "onnx", "--output", "x.onnx", "--int8", "--calibration", "empty"],
            "no pictures in the folder empty",
        ),
        (["dla46_c", "--format", "onnx", "--output", "x.onnx", "--test", "photos"], "measured of trained networks"),
    ],
)
def test_what_is_wrong_is_said(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "photos", 1)
    (tmp_path / "empty").mkdir()
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "empty"}


def test_a_missing_package_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main(["dla46_c", "--format", "onnx", "--output", str(tmp_path / "x.onnx")]) == 2
    assert "needs onnxruntime, which is not installed: install the extra [export]" in capsys.readouterr().err
