"""`dla export`: whatever goes wrong is one line, and an interruption leaves nothing."""

import json
import os
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
from PIL import Image
from run_files import save_checkpoint

import dla
from dla.deploy.runtimes import module_of
from dla.export import command
from dla.export.command import main
from dla.export.pictures import Calibration
from dla.export.source import load_source
from dla.hub import HubModel
from dla.predict import Predictor

FACTS = {"num_classes": 2, "classes": ["a", "b"], "colors": [[0, 0, 0], [9, 9, 9]], "mean": [0.5] * 3, "std": [0.2] * 3}


def checkpoint(path: Path) -> str:
    return save_checkpoint(path, dla.create_model("dla46_cida", num_classes=2), model="dla46_cida", **FACTS)


@pytest.mark.parametrize("name", ["a+b/best.ckpt", "resnet18+ida"])
def test_a_file_is_a_checkpoint_whatever_its_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint(Path(name))
    assert load_source(name).classes == ("a", "b")


def test_a_checkpoint_is_no_file_of_weights_alone(tmp_path, capsys):
    best = checkpoint(tmp_path / "best.ckpt")
    words = ["--weights", best, "--format", "onnx", "--output", str(tmp_path / "x.onnx")]
    assert main(["dla46_cida", *words]) == 2
    assert "best.ckpt is a checkpoint of dla fit, which knows its network: give it in the place of dla46_cida" in (
        capsys.readouterr().err
    )


def test_a_missing_checkpoint_is_no_networks_name(capsys):
    assert main(["runs/a+b/best.ckpt", "--format", "onnx", "--output", "x.onnx"]) == 2
    assert "runs/a+b/best.ckpt is neither a checkpoint file nor" in capsys.readouterr().err


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_an_interruption_leaves_nothing(stop, tmp_path, monkeypatch, capsys):
    def interrupted(*_: object, **__: object) -> None:
        assert [path.name[:9] for path in tmp_path.iterdir()] == [".writing-"]
        os.kill(os.getpid(), stop)
        threading.Event().wait(60)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("dla.export.write.sample", interrupted)
    assert main(["dla46_c", "--format", "onnx", "--output", str(tmp_path / "x.onnx")]) == 130
    assert capsys.readouterr().err.endswith("\ndla export: interrupted; nothing is written\n")
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) == before


def test_images_too_large_for_the_memory(tmp_path, capsys):
    size = ["--size", "10000000", "10000000"]
    assert main(["dla46_c", "--format", "onnx", "--output", str(tmp_path / "x.onnx"), *size]) == 2
    assert "allocate memory" in capsys.readouterr().err


def test_the_channels_are_those_of_pictures(monkeypatch, tmp_path):
    """And not those of the first parameter of four dimensions, which in some networks holds positions."""
    shapes: list[tuple[int, ...]] = []
    monkeypatch.setattr(command, "export", lambda *_, shape, **__: shapes.append(shape) or [])
    assert main(["sam2_hiera_tiny+ida", "--format", "onnx", "--output", str(tmp_path / "x.onnx")]) == 0
    assert shapes == [(1, 3, 512, 512)]


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("missing", "missing is no folder: name one that holds pictures"),
        ("photo.png", "photo.png is no folder"),
        ("none", "no pictures in the folder none"),
    ],
)
def test_folders_of_no_pictures(folder, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save("photo.png")
    for hidden in ("none/folder.png", "none/.thumbnails"):
        Path(hidden).mkdir(parents=True)
    for name in ("none/._photo.png", "none/.thumbnails/photo.png"):
        Path(name).write_bytes(Path("photo.png").read_bytes())
    arguments = [checkpoint(tmp_path / "best.ckpt"), "--format", "onnx", "--output", "x.onnx", "--int8"]
    assert main([*arguments, "--calibration", folder]) == 2
    assert message in capsys.readouterr().err


def test_pictures_to_learn_ranges_from_are_of_all_folders(tmp_path, monkeypatch):
    monkeypatch.setattr("dla.export.pictures.MOST", 3)
    for number in range(7):
        path = tmp_path / f"{number // 3}" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    predictor = Predictor(torch.nn.Linear(1, 1), "segmentation", ("wall",), (), (0.5,) * 3, (0.2,) * 3)
    assert [path.name for path in Calibration(predictor, tmp_path, (8, 8)).paths] == ["0.png", "3.png", "6.png"]


def test_a_misspelt_name_says_which_may_be_meant(capsys):
    assert main(["dla46", "--format", "onnx", "--output", "x.onnx"]) == 2
    assert "nor a network's name, which `dla models` lists; did you mean dla46_c" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("size", "facts"),
    [
        ((32, 32), {"dla.resize": "32", "dla.crop": "32"}),
        ((48, 48), {"dla.resize": "48", "dla.crop": "48"}),
        ((32, 48), {"dla.resize": "null", "dla.crop": "null"}),
    ],
)
def test_a_classifiers_facts_fit_the_size_that_is_asked_for(size, facts, tmp_path):
    path = tmp_path / "x.onnx"
    options = ["--format", "onnx", "--output", str(path), "--size", *map(str, size)]
    assert main(["dla46_c.cifar10", *options]) == 0
    found = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert {key: found[key] for key in facts} == facts
    assert found["dla.size"] == str(list(size))


@pytest.mark.parametrize("size", set(command.SIZES.values()))
def test_the_help_names_the_sizes_that_are_taken_where_none_is_given(size, capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "{} {}".format(*size) in " ".join(capsys.readouterr().out.split())


@pytest.mark.usefixtures("unchecked_shapes")
def test_which_of_ncnns_numbered_outputs_is_which_map_is_printed(tmp_path, capsys):
    model = dla.create_model("dla34_centernet", heads={"hm": 2, "wh": 2, "reg": 2}, decoder="plain").eval()
    torch.save({"state_dict": model.state_dict()}, tmp_path / "mine.pth")
    file = tmp_path / "x.ncnn.param"
    options = ["--weights", str(tmp_path / "mine.pth"), "--format", "ncnn", "--output", str(file), "--size", "32", "32"]
    assert main(["dla34_centernet", *options]) == 0
    (told,) = [line for line in capsys.readouterr().out.splitlines() if "dla.outputs" in line]
    images = torch.randn(1, 3, 32, 32)
    found = dict(zip(json.loads(told.partition(": ")[2]), module_of("ncnn").load(file)(images), strict=True))
    for name, expected in model(images).items():
        torch.testing.assert_close(found[name], expected, rtol=1e-3, atol=1e-5)


def test_what_ncnns_files_have_no_place_for_is_printed(tmp_path, capsys):
    options = ["--format", "ncnn", "--output", str(tmp_path / "x.ncnn.param"), "--size", "32", "32"]
    assert main(["dla46_c.cifar10", *options]) == 0
    assert "  dla.mean: [0.4914, 0.4822, 0.4465]\n" in capsys.readouterr().out


def test_a_disk_with_too_little_room_is_named_first(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=2**20))
    assert main(["dla46_c", "--format", "openvino", "--output", str(tmp_path / "x.xml")]) == 2
    assert f"5.0 MiB of weights do not fit into the 1.0 MiB that are free in {tmp_path}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["dla46_c", "resnet18+ida"])
def test_random_weights_are_told(name, tmp_path, capsys):
    assert main([name, "--format", "torch-export", "--output", str(tmp_path / "a.pt2"), "--size", "64", "64"]) == 0
    better = "dla46_c.cifar10 or dla46_c.in1k or a checkpoint" if name == "dla46_c" else "a checkpoint"
    warning = f"warning: {name} names a network alone, so its weights are random: give {better}\n"
    assert warning in capsys.readouterr().err


def test_trained_weights_are_not(tmp_path, capsys):
    network = checkpoint(tmp_path / "best.ckpt")
    assert main([network, "--format", "torch-export", "--output", str(tmp_path / "a.pt2"), "--size", "64", "64"]) == 0
    assert "random" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["dla46_cup.camvid", "tf_efficientnet_lite0+ida.camvid", "dla46_c.cifar10"])
def test_a_name_with_weights_is_the_trained_network(name):
    source, trained = load_source(name), dla.create_model(name, pretrained=True)
    assert source.classes
    torch.testing.assert_close(source.model.state_dict(), trained.state_dict(), rtol=0, atol=0)


def detector(path: Path) -> torch.nn.Module:
    model = dla.create_model("dla34_centernet", heads={"hm": 2, "wh": 2}, head_channels=8, decoder="plain")
    torch.save({"epoch": 3, "state_dict": dla.export_weights(model, "official")}, path)
    return model.eval()


def test_a_detectors_file_of_another_program(tmp_path, capsys):
    """Its heads, which no option names, are those of the file, and so are its answers."""
    model, path = detector(tmp_path / "ctdet.pth"), tmp_path / "detector.onnx"
    options = [
        "--weights",
        str(tmp_path / "ctdet.pth"),
        "--format",
        "onnx",
        "--output",
        str(path),
        "--size",
        "64",
        "96",
    ]
    facts = ["--mean", "0.408", "0.447", "0.47", "--std", "0.289", "0.274", "0.278"]
    assert main(["dla34_centernet", *options, *facts]) == 0
    printed = capsys.readouterr().err
    assert "tensors loaded, layout: CenterNet" in printed
    assert "random" not in printed
    session = onnxruntime.InferenceSession(path)
    x = torch.randn(1, 3, 64, 96)
    answers = dict(zip((o.name for o in session.get_outputs()), session.run(None, {"images": x.numpy()}), strict=True))
    for name, expected in model(x).items():
        torch.testing.assert_close(torch.from_numpy(answers[name]), expected.detach(), rtol=1e-3, atol=1e-3)
    found = session.get_modelmeta().custom_metadata_map
    assert (found["dla.mean"], found["dla.task"]) == ("[0.408, 0.447, 0.47]", '"detection"')
    assert found["dla.std"] == "[0.289, 0.274, 0.278]"
    assert "normalised" not in printed


def test_a_mean_that_nobody_gave_is_told(tmp_path, capsys):
    detector(tmp_path / "ctdet.pth")
    options = ["--weights", str(tmp_path / "ctdet.pth"), "--format", "torch-export", "--size", "64", "96"]
    assert main(["dla34_centernet", *options, "--output", str(tmp_path / "x.pt2"), "--mean", "0", "0", "0"]) == 0
    said = "does not say how its images were normalised: x.pt2 gets mean [0.0, 0.0, 0.0] and std [0.229, 0.224, 0.225]"
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out.startswith(f"writing {tmp_path / 'x.pt2'} and running it")


@pytest.mark.parametrize(
    ("name", "task"),
    [("dla46_c", "classification"), ("resnet18+ida", "segmentation"), ("dla46_c_centernet", "detection")],
)
def test_what_a_network_is_for_is_known_by_its_name(name, task):
    assert load_source(name).task == task


@pytest.mark.parametrize(
    ("name", "task"), [("squeezenet1_1", "classification"), ("lraspp_mobilenet_v3_large", "segmentation")]
)
def test_what_a_network_of_torchvision_is_for_is_known_too(name, task, tmp_path):
    torch.save(dla.create_model(f"torchvision/{name}").state_dict(), tmp_path / "theirs.pth")
    assert load_source(f"torchvision/{name}", str(tmp_path / "theirs.pth")).task == task


def test_a_classifier_of_timm_is_exported_as_one(tmp_path):
    torch.save(timm.create_model("test_resnet", num_classes=3).state_dict(), tmp_path / "theirs.pth")
    found = load_source("timm/test_resnet", str(tmp_path / "theirs.pth"))
    assert found.task == "classification"
    assert found.mean == found.std == (0.5, 0.5, 0.5)  # its own, and not ImageNet's


def test_weights_of_other_channels_than_3(tmp_path, capsys):
    torch.save(dla.create_model("dla46_c", num_classes=2, in_chans=1).state_dict(), tmp_path / "grey.pth")
    options = ["--weights", str(tmp_path / "grey.pth"), "--format", "onnx", "--output", str(tmp_path / "x.onnx")]
    assert main(["dla46_c", *options, "--size", "64", "64"]) == 0
    assert "images of (1, 1, 64, 64): differs by at most" in capsys.readouterr().out


@pytest.mark.usefixtures("unchecked_shapes")
def test_a_tracker_takes_its_three_images(tmp_path, capsys):
    tracker = dla.create_model("dla46_c_centernet", in_chans=(3, 3, 1), heads={"hm": 1, "tracking": 2})
    torch.save(dla.export_weights(tracker, "official"), tmp_path / "tracker.pth")
    options = ["--weights", str(tmp_path / "tracker.pth"), "--format", "onnx", "--output", str(tmp_path / "x.onnx")]
    assert main(["dla46_c_centernet", *options, "--size", "64", "64", "--dynamic"]) == 0
    assert "images of (1, 7, 64, 64): differs by at most" in capsys.readouterr().out


@pytest.mark.parametrize("reads", [["--int8", "--calibration", "."], ["--test", "."]], ids=["ranges", "accuracy"])
@pytest.mark.parametrize(("in_chans", "channels"), [(1, 1), ((3, 3), 6)])
def test_pictures_are_not_given_to_a_network_of_other_channels(
    in_chans, channels, reads, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64)).save("photo.png")
    torch.save(dla.create_model("dla46_c", num_classes=2, in_chans=in_chans).state_dict(), "other.pth")
    options = ["--weights", "other.pth", "--format", "onnx", "--output", "x.onnx"]
    assert main(["dla46_c", *options, *reads]) == 2
    printed = capsys.readouterr()
    assert f"RGB pictures, and the network takes images of {channels} channels: call" in printed.err
    assert "writing" not in printed.out


def test_weights_that_do_not_fit_write_nothing(tmp_path, capsys):
    detector(tmp_path / "ctdet.pth")
    options = ["--weights", str(tmp_path / "ctdet.pth"), "--format", "onnx", "--output", str(tmp_path / "x.onnx")]
    assert main(["dla46_cup", *options]) == 2
    assert "these weights do not fit the model" in capsys.readouterr().err
    assert not (tmp_path / "x.onnx").exists()


def test_a_deviation_of_zero_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["dla46_c", "--format", "onnx", "--output", "x.onnx", "--std", "0", "1", "1"])
    assert "'0' is not a positive number" in capsys.readouterr().err


@pytest.mark.parametrize("mean", ["nan", "inf", "a"])
def test_a_mean_that_is_no_number_is_refused(mean, capsys):
    with pytest.raises(SystemExit):
        main(["dla46_c", "--format", "onnx", "--output", "x.onnx", "--mean", mean, "-1", "1"])
    assert f"{mean!r} is not a number" in capsys.readouterr().err


def test_a_set_without_a_val_split_is_told_without_options_of_fit(tmp_path, capsys):
    options = ["--format", "torch-export", "--output", str(tmp_path / "x.pt2"), "--test", str(tmp_path)]
    assert main(["dla46_c.cifar10", *options]) == 2
    assert capsys.readouterr().err.rstrip().endswith("val/CLASS/NAME.jpg")


def test_a_folder_of_the_hubs_form(tmp_path):
    HubModel("dla46_cup", num_classes=2, cfg=FACTS).save_pretrained(tmp_path / "cracks")
    source = load_source(str(tmp_path / "cracks"))
    assert (source.task, source.classes, source.mean) == ("segmentation", ("a", "b"), (0.5, 0.5, 0.5))


def test_a_folder_of_the_hubs_form_need_not_say_what_the_network_is_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    HubModel("dla46_c", num_classes=3).save_pretrained("bare")
    HubModel("dla46_c_centernet", heads={"hm": 2, "wh": 2}, cfg=FACTS).save_pretrained("detector")
    for name, task, classes in (("./bare", "classification", ()), ("detector", "detection", ("a", "b"))):
        found = load_source(name)
        assert (found.task, found.classes) == (task, classes)
    assert main(["detector", "--format", "torch-export", "--output", "x.pt2", "--size", "64", "64"]) == 0
    assert "warning" not in capsys.readouterr().err
    assert main(["bare", "--format", "torch-export", "--output", "x.pt2", "--size", "64", "64"]) == 0
    said = capsys.readouterr().err
    assert "bare does not say how its images were normalised" in said
    assert "random" not in said
