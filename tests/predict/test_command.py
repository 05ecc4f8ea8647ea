"""The command `dla predict` on real files: what it writes, says and returns."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from run_files import save_checkpoint

import dla
from dla.cli import main
from dla.images import draw_overlay, read_image
from dla.inference import predict_classes, views
from dla.metrics.boundary import thin_crest
from dla.predict import Predictor, command, load_predictor, results

CLASSES = ["road", "sky", "tree", "car", "sign", "person"]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    torch.manual_seed(0)
    network = dla.create_model("dla46_cida", num_classes=6)
    colors = [[40 * index, 255 - 40 * index, 128] for index in range(6)]
    facts = {"model": "dla46_cida", "num_classes": 6, "classes": CLASSES, "colors": colors}
    path = tmp_path_factory.mktemp("model") / "best.ckpt"
    return save_checkpoint(path, network, **facts, mean=[0.5] * 3, std=[0.25] * 3)


def picture(path: Path, size: tuple[int, int] = (70, 65), mode: str = "RGB", **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return path


def predict(*arguments: object, model: str, output: Path) -> int:
    return main(["predict", *map(str, arguments), "--model", model, "--output", str(output), "--device", "cpu"])


def opened(path: Path) -> Image.Image:
    """A picture as it is in its file, which is closed again."""
    with Image.open(path) as image:
        image.load()
        return image


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_every_kind_of_picture_is_segmented(tmp_path, model, capsys):
    turned = Image.Exif()
    turned[0x0112] = 6
    picture(tmp_path / "in" / "odd.png")
    picture(tmp_path / "in" / "grey.png", mode="L")
    picture(tmp_path / "in" / "clear.png", mode="RGBA")
    picture(tmp_path / "in" / "turned.jpg", exif=turned)
    assert predict(tmp_path / "in", model=model, output=tmp_path / "new" / "out") == 0
    out = tmp_path / "new" / "out"
    stems = ("odd", "grey", "clear", "turned")
    assert names(out) == {f"{stem}{end}" for stem in stems for end in (".png", "_overlay.jpg")}
    for stem in stems:
        mask = opened(out / f"{stem}.png")
        assert mask.mode == "L"
        assert mask.size == ((65, 70) if stem == "turned" else (70, 65))
        assert np.asarray(mask).max() < 6
        overlay = opened(out / f"{stem}_overlay.jpg")
        assert overlay.mode == "RGB"
        assert overlay.width > mask.width
        assert overlay.height >= mask.height
    captured = capsys.readouterr()
    assert captured.out == f"wrote 4 masks and overlays to {out}, skipped 0 of 4 images\n"
    assert "predicting" in captured.err


def test_the_mask_holds_the_predicted_classes(tmp_path, model):
    path = picture(tmp_path / "a.png")
    options = ["--scales", 0.5, 1, "--flip", "--window", 48, "--overlap", 0.2]
    assert predict(path, *options, model=model, output=tmp_path / "out") == 0
    expected = load_predictor(model).segment(read_image(path), scales=(0.5, 1), flip=True, window=48, overlap=0.2)
    np.testing.assert_array_equal(np.asarray(opened(tmp_path / "out" / "a.png")), expected)
    overlay = draw_overlay(read_image(path), expected, CLASSES, load_predictor(model).colors)
    overlay.save(tmp_path / "a.jpg", quality=95)
    assert (tmp_path / "out" / "a_overlay.jpg").read_bytes() == (tmp_path / "a.jpg").read_bytes()


def test_boundary_maps_hold_what_is_found_and_its_crest(tmp_path):
    path = picture(tmp_path / "a.png")
    assert predict(path, "--flip", model="dla46_cup.bsds500", output=tmp_path / "out") == 0
    found = load_predictor("dla46_cup.bsds500").boundaries(read_image(path), scales=[1.0], flip=True)
    np.testing.assert_array_equal(np.asarray(opened(tmp_path / "out" / "a.png")), (255 * found).round())
    np.testing.assert_array_equal(np.asarray(opened(tmp_path / "out" / "a_thin.png")), thin_crest(found))


def test_an_overlay_is_made_smaller_than_jpeg_takes(tmp_path, model, monkeypatch):
    monkeypatch.setattr(results, "LARGEST_JPEG", 50)
    assert predict(picture(tmp_path / "a.png"), model=model, output=tmp_path / "out") == 0
    assert max(opened(tmp_path / "out" / "a_overlay.jpg").size) == 50
    assert opened(tmp_path / "out" / "a.png").size == (70, 65)


@pytest.mark.parametrize(
    ("whole", "options", "seen"),
    [
        (70 * 65, [], {}),
        (70 * 65 - 1, [], {"window": 48}),
        (70 * 65 * 4 - 1, ["--scales", 2], {"window": 48, "scales": (2,)}),
        (100, ["--window", 1000], {}),
    ],
)
def test_a_large_picture_is_seen_in_windows(tmp_path, model, monkeypatch, whole, options, seen):
    monkeypatch.setattr(views, "WHOLE", whole)
    monkeypatch.setattr(views, "WINDOW", 48)
    path = picture(tmp_path / "a.png")
    assert predict(path, *options, model=model, output=tmp_path / "out") == 0
    predictor = load_predictor(model)
    expected = predict_classes(predictor.model, predictor.inputs(read_image(path)), **seen)[0]
    np.testing.assert_array_equal(np.asarray(opened(tmp_path / "out" / "a.png")), expected)
    by_call = {"scales": seen["scales"]} if "scales" in seen else {}
    by_call |= {"window": 1000} if "--window" in options else {}
    np.testing.assert_array_equal(predictor.segment(read_image(path), **by_call), expected)


def test_a_picture_may_be_larger_than_pillow_takes(tmp_path, model, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    path = picture(tmp_path / "a.png")
    assert predict(path, model=model, output=tmp_path / "out") == 0
    assert names(tmp_path / "out") == {"a.png", "a_overlay.jpg"}
    assert Image.MAX_IMAGE_PIXELS == 2000  # which programs that call ours may rely upon


def test_unreadable_pictures_are_skipped_and_named(tmp_path, model, capsys):
    picture(tmp_path / "a.png")
    broken = picture(tmp_path / "broken[red].jpg")  # which is no colour
    broken.write_bytes(broken.read_bytes()[:-800])
    (tmp_path / "notes.jpg").write_text("not a picture")
    (tmp_path / "empty.png").touch()
    assert predict(tmp_path, model=model, output=tmp_path / "out") == 1
    assert names(tmp_path / "out") == {"a.png", "a_overlay.jpg"}
    captured = capsys.readouterr()
    for name in ("broken[red].jpg", "notes.jpg", "empty.png"):
        assert captured.err.count(f"warning: skipped: {tmp_path / name} cannot be read as an image") == 1
    assert captured.out.endswith("skipped 3 of 4 images\n")


def test_pictures_too_small_for_boundaries_are_skipped_and_named(tmp_path, capsys):
    picture(tmp_path / "flat.png", size=(40, 1))
    picture(tmp_path / "thin.png", size=(1, 40))
    picture(tmp_path / "whole.png", size=(2, 40))
    assert predict(tmp_path, model="dla46_cup.bsds500", output=tmp_path / "out") == 1
    assert names(tmp_path / "out") == {"whole.png", "whole_thin.png", "whole_overlay.jpg"}
    captured = capsys.readouterr()
    for name, size in (("flat", "40 x 1"), ("thin", "1 x 40")):
        assert f"warning: skipped: {tmp_path}/{name}.png is {size}: to have boundaries, it needs 2" in captured.err
    assert captured.out.endswith("skipped 2 of 3 images\n")


def test_what_is_hidden_in_a_folder_is_not_taken(tmp_path, model, capsys):
    picture(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "._a.png").write_bytes(b"of macOS")
    assert predict(tmp_path / "in", model=model, output=tmp_path / "out") == 0
    assert names(tmp_path / "out") == {"a.png", "a_overlay.jpg"}
    assert capsys.readouterr().out.endswith("skipped 0 of 1 images\n")


def test_a_name_that_is_no_text_gets_its_files(tmp_path, model, capsys):
    stem, out = os.fsdecode(b"caf\xe9"), tmp_path / os.fsdecode(b"out\xe9")
    try:
        out.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    picture(tmp_path / "in" / f"{stem}.png")
    picture(tmp_path / "in" / "z.png")
    assert predict(tmp_path / "in", model=model, output=out) == 0
    assert names(out) == {f"{name}{end}" for name in (stem, "z") for end in (".png", "_overlay.jpg")}
    assert capsys.readouterr().out == f"wrote 2 masks and overlays to {tmp_path}/out\\udce9, skipped 0 of 2 images\n"


def test_existing_results_are_replaced(tmp_path, model):
    path = picture(tmp_path / "a.jpg")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").write_text("old")
    assert predict(path, model=model, output=tmp_path / "out") == 0
    assert opened(tmp_path / "out" / "a.png").size == (70, 65)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_too_little_memory_skips_the_picture_with_advice(error, tmp_path, model, monkeypatch, capsys):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Predictor, "segment", fail)
    assert predict(picture(tmp_path / "a.png"), model=model, output=tmp_path / "out") == 1
    assert "a.png (70 x 65) is too large for the device's memory: try --window 512\n" in capsys.readouterr().err
    assert predict(tmp_path / "a.png", "--window", 64, model=model, output=tmp_path / "out") == 1
    assert "memory: try a smaller --window\n" in capsys.readouterr().err


def test_what_was_classified_is_kept_whatever_happens(tmp_path, monkeypatch, capsys):
    """A picture that is too large for Pillow is skipped, without advice that a classifier refuses."""
    for name in "abc":
        picture(tmp_path / "in" / f"{name}.png")
    classify = Predictor.classify

    def fail(self: Predictor, image: Image.Image, **view: object) -> np.ndarray:
        calls.append(image)
        if len(calls) == 2:
            raise MemoryError
        if len(calls) == 3:
            raise broken
        return classify(self, image, **view)

    monkeypatch.setattr(Predictor, "classify", fail)
    for broken in (BrokenPipeError(32, "Broken pipe"), RuntimeError("a bug")):
        calls: list[Image.Image] = []
        output = tmp_path / type(broken).__name__
        with pytest.raises(type(broken)):
            command.main([str(tmp_path / "in"), "--model", "dla46_c.cifar10", "--output", str(output)])
        assert "b.png (70 x 65) is too large for the device's memory\n" in capsys.readouterr().err
        assert len((output / "predictions.csv").read_text().splitlines()) == 2


def error(capsys: pytest.CaptureFixture[str], output: Path) -> str:
    """The message of a command that has not started."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("dla predict: error: ")
    assert captured.err.count("\n") == 1
    assert not output.exists()
    return captured.err


@pytest.mark.parametrize("second", ["b/street.jpg", "a/street.png", "b/STREET.png"])
def test_two_pictures_for_one_mask_are_refused(tmp_path, model, capsys, second):
    pictures = [picture(tmp_path / "a" / "street.jpg"), picture(tmp_path / second)]
    assert predict(*pictures, model=model, output=tmp_path / "out") == 2
    assert f"{pictures[0]} and {pictures[1]} would both be written to" in error(capsys, tmp_path / "out")


def test_a_picture_is_not_overwritten_by_its_mask(tmp_path, model, capsys):
    path = picture(tmp_path / "a.png")
    content = path.read_bytes()
    assert predict(path, model=model, output=tmp_path) == 2
    assert f"{path} would be overwritten: give another --output" in capsys.readouterr().err
    assert path.read_bytes() == content


def test_a_name_without_room_for_the_ending_of_its_results_is_refused(tmp_path, model, capsys):
    paths = picture(tmp_path / "a.png"), picture(tmp_path / f"{'ä' * 122}.png")
    assert predict(*paths, model=model, output=tmp_path / "out") == 2
    assert f"{paths[1]}: its results' names would be longer than file systems take" in error(capsys, tmp_path / "out")


def test_a_name_with_just_the_room_for_the_ending_of_its_results(tmp_path, model):
    stem = "a" * (255 - len(".png.aux.xml"))
    assert predict(picture(tmp_path / f"{stem}.png"), model=model, output=tmp_path / "out") == 0
    assert names(tmp_path / "out") == {f"{stem}.png", f"{stem}_overlay.jpg"}


def test_windows_that_overlap_by_all_of_them_are_refused(tmp_path, model, capsys):
    path = picture(tmp_path / "a.png")
    assert predict(path, "--overlap", 1, model=model, output=tmp_path / "out") == 2
    assert "overlap must be at least 0 and below 1, not 1.0" in error(capsys, tmp_path / "out")


def test_what_is_missing_to_find_boundaries_is_named_with_its_extra(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "dla.metrics.boundary.suppression", None)
    assert predict(picture(tmp_path / "a.png"), model="dla46_cup.bsds500", output=tmp_path / "out") == 2
    assert "install what finding boundaries needs by the extra [train]" in capsys.readouterr().err


def test_a_picture_is_not_overwritten_by_its_mask_in_other_case(tmp_path, model, capsys):
    """A second name stands for what file systems without case make of the first, as on macOS and Windows."""
    path = picture(tmp_path / "A.PNG")
    content = path.read_bytes()
    if not (tmp_path / "A.png").exists():
        (tmp_path / "A.png").hardlink_to(path)
    assert predict(path, model=model, output=tmp_path) == 2
    assert f"{path} would be overwritten: give another --output" in capsys.readouterr().err
    assert path.read_bytes() == content


def test_a_missing_input_is_named(tmp_path, model, capsys):
    assert predict(picture(tmp_path / "a.png"), tmp_path / "b.png", model=model, output=tmp_path / "out") == 2
    assert f"no image at {tmp_path / 'b.png'}" in error(capsys, tmp_path / "out")


def test_a_missing_model_is_named(tmp_path, capsys):
    assert predict(picture(tmp_path / "a.png"), model="dla99.camvid", output=tmp_path / "out") == 2
    assert "dla99.camvid is neither a checkpoint file, nor" in error(capsys, tmp_path / "out")


def test_a_broken_checkpoint_is_named(tmp_path, capsys):
    (tmp_path / "last.ckpt").write_text("hello")
    assert predict(picture(tmp_path / "a.png"), model=str(tmp_path / "last.ckpt"), output=tmp_path / "out") == 2
    assert "last.ckpt is not a checkpoint" in error(capsys, tmp_path / "out")


@pytest.mark.skipif(torch.accelerator.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize(("device", "missing"), [("cuda", "no CUDA device"), ("mps", "none of Apple's GPUs")])
def test_a_missing_device_is_named(device, missing, tmp_path, model, capsys):
    path = picture(tmp_path / "a.png")
    assert main(["predict", str(path), "--model", model, "--output", str(tmp_path / "out"), "--device", device]) == 2
    assert f"--device {device}: torch sees {missing} here; use --device cpu" in error(capsys, tmp_path / "out")


def test_an_output_that_is_a_file_is_named(tmp_path, model, capsys):
    path = picture(tmp_path / "a.png")
    assert predict(path, model=model, output=path) == 2
    assert f"--output {path} is a file: name a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--output", "out", "--scales", "0"], "'0' is not a positive number"),
        (["--output", "out", "--scales", "1", "nan"], "'nan' is not a positive number"),
        (["--output", "out", "--scales", "1", "half"], "'half' is not a positive number"),
        (["--output", "out", "--window", "2.5"], "'2.5' is not a positive whole number"),
        (["--output", "out", "--overlap", "-1"], "'-1' is not"),
        (["--output", "out", "--device", "tpu"], "invalid choice: 'tpu'"),
        ([], "required: --output"),
    ],
)
def test_arguments_that_make_no_sense_end_with_code_2(capsys, wrong, message):
    with pytest.raises(SystemExit) as caught:
        main(["predict", "a.png", "--model", "m", *wrong])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_help_shows_examples(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["predict", "--help"])
    assert caught.value.code == 0
    assert "dla predict photo.jpg --model" in capsys.readouterr().out


def test_inputs_may_stand_on_both_sides_of_options(tmp_path, model):
    first, second = picture(tmp_path / "a.png"), picture(tmp_path / "b.png")
    assert main(["predict", str(first), "--model", model, str(second), "--output", str(tmp_path / "out")]) == 0
    assert len(names(tmp_path / "out")) == 4


def test_ctrl_c_between_the_bytes_of_a_mask_leaves_whole_files(tmp_path, model, monkeypatch, capsys):
    for name in "abc":
        picture(tmp_path / f"{name}.png")
    save = Image.Image.save

    def interrupt(image: Image.Image, path: Path, **options: object) -> None:
        save(image, path, **options)
        if path.name == "b.png":
            path.write_bytes(path.read_bytes()[:50])
            raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", interrupt)
    assert predict(tmp_path, model=model, output=tmp_path / "out") == 130
    assert names(tmp_path / "out") == {"a.png", "a_overlay.jpg"}
    assert "wrote 1 masks and overlays" in capsys.readouterr().out


def test_a_full_disk_is_named_and_leaves_whole_files(tmp_path, model, monkeypatch, capsys):
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    path = picture(tmp_path / "a.png")
    monkeypatch.setattr(Image.Image, "save", fail)
    assert predict(path, model=model, output=tmp_path / "out") == 2
    assert "No space left on device" in capsys.readouterr().err
    assert names(tmp_path / "out") == set()


def many(folder: Path) -> str:
    """A folder of more pictures than are done before a signal comes, however busy the machine."""
    first = picture(folder / "first.png")
    for index in range(1500):
        os.link(first, folder / f"{index}.png")
    return str(folder)


def test_a_command_that_gets_the_signal_leaves_whole_files(tmp_path, model):
    code = (  # a shell that runs the tests in the background has its children ignore the signal
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from dla.predict.command import main; "
        "assert 'lightning' not in sys.modules; sys.exit(main(sys.argv[1:]))"
    )
    arguments = [many(tmp_path / "in"), "--model", model, "--output", str(tmp_path / "out"), "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and len(list((tmp_path / "out").glob("*.png"))) < 3:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "wrote" in out
    for path in (tmp_path / "out").glob("[!.]*"):
        assert path.suffix in {".png", ".jpg"}
        opened(path)


def test_a_command_that_gets_sigterm_keeps_what_it_has_classified(tmp_path):
    arguments = [many(tmp_path / "in"), "--model", "dla46_c.cifar10", "--output", str(tmp_path / "out"), "--device=cpu"]
    process = subprocess.Popen(  # unbuffered, so that its first line comes before the others
        [sys.executable, "-u", "-m", "dla", "predict", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.endswith("dla predict: interrupted\n")
    assert "wrote" in out
    _, *kept = csv.reader((tmp_path / "out" / "predictions.csv").read_text().splitlines())
    assert len(kept) - (line + out).count(".png: ") in (0, 1)  # the signal may come between the two
    assert 1 <= len(kept) < 1501
    assert {len(row) for row in kept} == {11}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["predictions.csv"]
