"""What `dla predict` makes of a picture with a classifier; masks and boundary maps are tested with their commands."""

import io
import os
import sys

import numpy as np
import pytest
import torch
from disturbed import disturbed
from image_files import random_image, save_image
from PIL import Image
from run_files import read_rows, save_checkpoint

from dla.cli import main
from dla.data.classification.views import center_view
from dla.inference import OVERLAP
from dla.predict import Predictor, load_predictor
from dla.predict.results import INK, Classes, draw_boundaries, results

CLASSES = ["apple", "kiwi", "pear", "plum"]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """The checkpoint of a classifier with random statistics."""
    described = {"task": "classification", "model": "dla46_c", "num_classes": 4, "classes": CLASSES}
    described |= {"options": {}, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25], "resize": 48, "crop": 40}
    path = tmp_path_factory.mktemp("run") / "best.ckpt"
    return save_checkpoint(path, disturbed("dla46_c", num_classes=4), **described)


@pytest.fixture
def pictures(tmp_path):
    for number, size in enumerate(((70, 50), (41, 90))):
        save_image(tmp_path / "in" / f"{number}.png", random_image(number, *size))
    return tmp_path / "in"


def predict(*arguments: object) -> int:
    return main(["predict", *map(str, arguments)])


def test_a_picture_is_seen_as_in_validation(model, pictures):
    predictor = load_predictor(model)
    with Image.open(pictures / "0.png") as image:
        found = predictor.classify(image.convert("RGB"))
        pixels = center_view(resize=48, crop=40)(torch.from_numpy(np.array(image)).permute(2, 0, 1))
    inputs = (pixels / 255 - torch.tensor([0.4, 0.5, 0.6])[:, None, None]) / torch.tensor([0.2, 0.3, 0.25])[
        :, None, None
    ]
    with torch.no_grad():
        expected = predictor.model(inputs[None]).softmax(1)[0]
    assert predictor.classes == tuple(CLASSES)
    assert found.shape == (4,)
    np.testing.assert_allclose(found, expected, atol=0.02)  # Pillow and torch resize a little differently


def test_the_most_probable_classes_are_printed_and_kept(model, pictures, tmp_path, capsys):
    out = tmp_path / "out"
    assert predict(pictures, "--model", model, "--output", out, "--top", 2, "--flip") == 0
    assert {path.name for path in out.iterdir()} == {"predictions.csv"}
    rows = read_rows(out / "predictions.csv")
    assert [row["image"] for row in rows] == [str(pictures / "0.png"), str(pictures / "1.png")]
    with Image.open(pictures / "1.png") as image:
        probabilities = load_predictor(model).classify(image.convert("RGB"), flip=True)
    best = np.argsort(-probabilities)[:2]
    assert list(rows[1]) == ["image", "class1", "probability1", "class2", "probability2"]
    assert [rows[1]["class1"], rows[1]["class2"]] == [CLASSES[i] for i in best]
    assert float(rows[1]["probability1"]) == pytest.approx(probabilities[best[0]], abs=1e-4)
    printed = capsys.readouterr().out
    assert f"{pictures / '1.png'}: {CLASSES[best[0]]} {100 * probabilities[best[0]]:.1f} %" in printed
    assert "wrote 2 lines of predictions.csv" in printed


def test_more_classes_than_there_are_become_all(model, pictures, tmp_path):
    assert predict(pictures, "--model", model, "--output", tmp_path / "out", "--top", 9) == 0
    row = read_rows(tmp_path / "out" / "predictions.csv")[0]
    assert sorted(row.values()) == sorted(
        [row["image"], *CLASSES, *(row[f"probability{rank}"] for rank in range(1, 5))]
    )


def test_the_mirror_image_counts_where_it_is_asked_for(model, pictures, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(Predictor, "classify", lambda self, image, *, flip: seen.append(flip) or np.full(4, 0.25))
    for options in ([], ["--flip"]):
        assert predict(pictures / "0.png", "--model", model, "--output", tmp_path / "out", *options) == 0
    assert seen == [False, True]


def test_windows_overlap_as_asked_or_as_by_default(tmp_path):
    options = {"scales": [1.0], "flip": False, "window": 64, "top": None}
    predictor = load_predictor("dla46_cup.bsds500")
    for overlap, expected in ((None, OVERLAP), (0.0, 0.0), (0.5, 0.5)):
        assert results(predictor, tmp_path, overlap=overlap, **options).inference["overlap"] == expected


def test_boundaries_are_drawn_over_a_paler_picture():
    crest = np.array([[0, 255]], np.uint8)
    drawn = draw_boundaries(Image.new("RGB", (2, 1), (10, 100, 200)), crest)
    assert drawn.getpixel((0, 0)) == pytest.approx((132, 177, 227), abs=1)
    assert drawn.getpixel((1, 0)) == INK


def test_pictures_of_one_name_in_two_folders_are_no_conflict(model, pictures, tmp_path):
    again = tmp_path / "again"
    again.mkdir()
    (again / "0.png").write_bytes((pictures / "0.png").read_bytes())
    assert predict(pictures, again, "--model", model, "--output", tmp_path / "out") == 0


def test_a_name_that_is_no_text_is_escaped_and_the_others_follow(model, pictures, tmp_path, capsys):
    try:
        (pictures / "0.png").rename(pictures / os.fsdecode(b"0\xe9.png"))
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    assert predict(pictures, "--model", model, "--output", tmp_path / "out") == 0
    found = [row["image"] for row in read_rows(tmp_path / "out" / "predictions.csv")]
    assert found == [f"{pictures}/0\\udce9.png", f"{pictures}/1.png"]
    printed = capsys.readouterr().out
    assert f"{pictures}/0\\udce9.png: " in printed
    assert "wrote 2 lines of predictions.csv" in printed


def test_what_the_terminal_cannot_show_is_escaped(model, pictures, tmp_path, monkeypatch):
    (pictures / "0.png").rename(pictures / "grün.png")
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert predict(pictures, "--model", model, "--output", tmp_path / "out") == 0
    terminal.flush()
    assert f"{pictures}/gr\\xfcn.png: ".encode() in terminal.buffer.getvalue()


def test_the_table_is_utf8_wherever_it_is_written(model, tmp_path, monkeypatch):
    writer = Classes(load_predictor(model), tmp_path, {}, top=1)
    writer.rows.append(["grün.png", "apple", "1.0000"])
    monkeypatch.setattr(io, "text_encoding", lambda encoding, *_: encoding or "ascii")  # a locale without UTF-8
    writer.finish()
    assert "grün.png,apple,1.0000" in (tmp_path / "predictions.csv").read_text(encoding="utf-8")


def test_the_number_of_classes_is_refused_where_none_are_named(pictures, tmp_path, capsys):
    options = ("--model", "dla46_cup.camvid", "--output", tmp_path / "out", "--top", 3)
    assert predict(pictures, *options) == 2
    assert "--top is for classification; this model is one of segmentation: leave it out" in capsys.readouterr().err


@pytest.mark.parametrize("option", [("--scales", 0.5, 1), ("--window", 64), ("--overlap", 0.5)])
def test_options_of_dense_prediction_are_refused(option, model, pictures, tmp_path, capsys):
    assert predict(pictures, "--model", model, "--output", tmp_path / "out", *option) == 2
    assert "--scales, --window and --overlap are for dense prediction; this model classifies" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
