"""Folders against folders: what is written, how a stopped run goes on, and errors that name the file."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from image_files import save_annotators, save_image
from PIL import Image
from rich.console import Console
from run_files import read_rows
from scipy.io import savemat
from scipy.sparse import csc_matrix

from dla.data.boundaries.truth import list_truths, read_truth
from dla.metrics.boundary import (
    PRESETS,
    Protocol,
    count_matches,
    evaluate_folders,
    read_prediction,
    read_results,
    score,
    spread_thresholds,
    suppress,
)
from dla.metrics.boundary import evaluate as module

FEW = Protocol(thresholds=5, max_dist=0.03)


def results(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())


@pytest.fixture
def counted(monkeypatch) -> list[str]:
    """The names of the images that are counted, as they are."""
    names: list[str] = []
    count = module.count_task

    def noted(task):
        names.append(task.truth.stem)
        return count(task)

    monkeypatch.setattr(module, "count_task", noted)
    return names


@pytest.mark.parametrize("nms", [None, PRESETS["hed"]], ids=["none", "hed"])
def test_results_hold_counts_and_scores(benchmark, nms):
    protocol = Protocol(thresholds=5, max_dist=0.03, nms=nms)
    scores = evaluate_folders(*benchmark, protocol)
    table, thresholds = results(benchmark.output), spread_thresholds(5)
    assert list(table["images"]) == ["a", "b", "c"]
    for name, path in list_truths(benchmark.truths).items():
        (prediction,) = benchmark.predictions.glob(f"{name}.*")
        edges = read_prediction(prediction)
        edges = edges if nms is None else suppress(edges, nms) / 255
        expected = count_matches(edges, read_truth(path), thresholds, 0.03)
        assert table["images"][name] == {"counts": expected.tolist()}
    again = score(np.array([image["counts"] for image in table["images"].values()]), thresholds)
    for name in ("ods", "ois", "ap", "r50", "ods_threshold"):
        assert table[name] == getattr(scores, name) == getattr(again, name)
    assert table["thresholds"] == thresholds.tolist()
    assert table["settings"]["max_dist"] == 0.03
    assert 0 < table["ods"] < 1


def test_the_curve_as_csv_and_as_picture(benchmark):
    scores = evaluate_folders(*benchmark, FEW)
    rows = read_rows(benchmark.output / "curve.csv")
    assert list(rows[0]) == ["threshold", "recall", "precision", "f"]
    assert [float(row["recall"]) for row in rows] == scores.curve.recall.tolist()
    assert [float(row["f"]) for row in rows] == scores.curve.f.tolist()
    with Image.open(benchmark.output / "curve.png") as picture:
        assert picture.width > 500
    kept = read_results(benchmark.output / "results.json")
    assert (kept.ods, kept.ap) == (scores.ods, scores.ap)


def test_formats_are_read_alike(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (7, 9), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", grey / 255)
    savemat(tmp_path / "a.mat", {"anything": grey / 255})
    savemat(tmp_path / "sparse.mat", {"anything": csc_matrix(grey / 255)})
    maps = [read_prediction(tmp_path / name) for name in ("a.png", "a.npy", "a.mat", "sparse.mat")]
    assert all(np.array_equal(edges, grey / 255) for edges in maps)


def test_what_rounding_adds_to_an_average_is_taken_off(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1 + 1e-6, -1e-6], [0.5, 0.25]]))
    assert np.array_equal(read_prediction(tmp_path / "a.npy"), [[1, 0], [0.5, 0.25]])


def test_a_stopped_run_goes_on(benchmark, counted, monkeypatch):
    expected = evaluate_folders(*benchmark[:2], benchmark.output.with_name("whole"), FEW)
    assert counted == ["a", "b", "c"]
    original = module.count_task

    def stop_at_c(task):
        if task.truth.stem == "c":
            raise KeyboardInterrupt
        return original(task)

    monkeypatch.setattr(module, "count_task", stop_at_c)
    with pytest.raises(KeyboardInterrupt):
        evaluate_folders(*benchmark, FEW)
    assert sorted(path.name for path in (benchmark.output / "images").iterdir()) == ["a.json", "b.json"]
    assert not (benchmark.output / "results.json").exists()
    monkeypatch.setattr(module, "count_task", original)
    counted.clear()
    assert evaluate_folders(*benchmark, FEW).ods == expected.ods
    assert counted == ["c"]


def test_annotators_may_have_a_png_each(benchmark, counted):
    expected = evaluate_folders(*benchmark, FEW)
    truths, output = benchmark.truths.with_name("people"), benchmark.output.with_name("again")
    for name, path in list_truths(benchmark.truths).items():
        save_annotators(truths / name, read_truth(path))
    assert evaluate_folders(benchmark.predictions, truths, output, FEW).ods == expected.ods
    counted.clear()
    save_image(truths / "a" / "1.png", np.eye(30, 41, dtype=np.uint8))
    evaluate_folders(benchmark.predictions, truths, output, FEW)
    assert counted == ["a"]  # anew, and the others are kept


def test_changed_files_and_settings_are_measured_anew(benchmark, counted):
    evaluate_folders(*benchmark, FEW)
    counted.clear()
    evaluate_folders(*benchmark, FEW)
    assert counted == []
    np.save(benchmark.predictions / "b.npy", np.zeros((30, 41)))
    (benchmark.truths / "c.png").write_bytes((benchmark.truths / "c.png").read_bytes() + b" ")
    (benchmark.output / "images" / "a.json").write_text("{")
    evaluate_folders(*benchmark, FEW)
    assert counted == ["a", "b", "c"]
    assert np.array(results(benchmark.output)["images"]["b"]["counts"])[:, 3].tolist() == [0] * 5
    for protocol in (Protocol(6, 0.03), Protocol(5, 0.04), Protocol(5, 0.03, PRESETS["rcf"])):
        counted.clear()
        evaluate_folders(*benchmark, protocol)
        assert counted == ["a", "b", "c"]
        assert results(benchmark.output)["settings"]["thresholds"] == protocol.thresholds


def test_that_another_evaluation_is_replaced_is_said(benchmark):
    console = Console(file=io.StringIO(), soft_wrap=True)
    evaluate_folders(*benchmark, FEW, console=console)
    evaluate_folders(*benchmark, FEW, console=console)
    assert "replaces" not in console.file.getvalue()
    evaluate_folders(*benchmark, replace(FEW, nms=PRESETS["rcf"], max_dist=0.04), console=console)
    said = f"note: {benchmark.output} holds an evaluation with another max_dist and nms, which this one replaces"
    assert said in console.file.getvalue()


@pytest.mark.slow
def test_processes_agree_with_one(benchmark):
    evaluate_folders(*benchmark, FEW)
    evaluate_folders(*benchmark[:2], benchmark.output.with_name("parallel"), FEW, workers=2)
    assert results(benchmark.output.with_name("parallel")) == results(benchmark.output)
    np.save(benchmark.predictions / "b.npy", np.full((30, 41), 2.0))
    with pytest.raises(ValueError, match=r"b\.npy holds 2 to 2"):
        evaluate_folders(*benchmark[:2], benchmark.output.with_name("parallel"), FEW, workers=2)


def test_a_missing_prediction_is_named(benchmark):
    (benchmark.predictions / "b.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 3 images have no prediction.*the first, b, belongs to .*b\.mat"):
        evaluate_folders(*benchmark, FEW)
    assert not benchmark.output.exists()


def test_umlauts_are_one_name_whether_of_one_character_or_of_two(benchmark):
    (benchmark.predictions / "b.npy").rename(benchmark.predictions / "Ba\N{COMBINING DIAERESIS}ume.npy")
    (benchmark.truths / "b.mat").rename(benchmark.truths / "B\N{LATIN SMALL LETTER A WITH DIAERESIS}ume.mat")
    evaluate_folders(*benchmark, FEW, names=["Ba\N{COMBINING DIAERESIS}ume"])
    assert len(results(benchmark.output)["images"]) == 1


def test_names_must_name_something(benchmark):
    with pytest.raises(ValueError, match="names is empty: name some images, or give None for all"):
        evaluate_folders(*benchmark, FEW, names=[])
    assert not benchmark.output.exists()


def test_predictions_without_truth_are_left_out(benchmark):
    (benchmark.truths / "a.mat").unlink()
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(benchmark.predictions / "b_thin.png")
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(benchmark.predictions / "b_overlay.jpg")
    evaluate_folders(*benchmark, FEW)
    assert list(results(benchmark.output)["images"]) == ["b", "c"]


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((41, 30)), r"b\.npy against .*b\.mat: the map is 30x41 but its ground truth 41x30"),
        (np.full((30, 41), 255, dtype=np.uint8), r"b\.npy holds 255 to 255; expected boundary strengths in \[0, 1\]"),
        (np.full((30, 41), np.nan), r"b\.npy holds NaN.*predict it again"),
        (np.zeros((30, 41, 3)), r"b\.npy holds float64 of shape \(30, 41, 3\)"),
        (np.zeros((30, 41), dtype=complex), r"b\.npy holds complex128"),
        (np.array([[{}]], dtype=object), r"b\.npy cannot be read"),
    ],
)
def test_wrong_maps_are_named(benchmark, pixels, message):
    np.save(benchmark.predictions / "b.npy", pixels, allow_pickle=True)
    with pytest.raises(ValueError, match=message):
        evaluate_folders(*benchmark, FEW)
    assert not (benchmark.output / "results.json").exists()


def test_wrong_files_are_named(tmp_path):
    Image.new("RGB", (5, 5)).save(tmp_path / "colour.png")
    Image.fromarray(np.zeros((5, 5), dtype=np.uint16)).save(tmp_path / "deep.png")
    savemat(tmp_path / "two.mat", {"a": np.eye(3), "b": np.eye(3)})
    (tmp_path / "broken.mat").write_bytes(b"no")
    (tmp_path / "a.jpg").touch()
    np.savez(tmp_path / "several.npz", np.eye(3))
    (tmp_path / "several.npz").rename(tmp_path / "several.npy")
    for name in ("several.npy", "colour.png", "deep.png", "two.mat", "broken.mat", "a.jpg"):
        with pytest.raises(ValueError, match=name):
            read_prediction(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        read_prediction(tmp_path / "none.png")


def test_what_is_measured_is_not_overwritten(benchmark):
    with pytest.raises(ValueError, match="give another output"):
        evaluate_folders(benchmark.predictions, benchmark.truths, benchmark.predictions, FEW)
    with pytest.raises(ValueError, match=r"a\.png is a file: name a folder"):
        evaluate_folders(benchmark.predictions, benchmark.truths, benchmark.predictions / "a.png", FEW)


def test_files_that_are_no_results_are_named(tmp_path):
    for number, text in enumerate(("", "[]", "{}", '{"images": {}, "thresholds": []}')):
        path = tmp_path / f"{number}.json"
        path.write_text(text)
        with pytest.raises(ValueError, match=f"{number}.json is no results.json"):
            read_results(path)
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        read_results(tmp_path / "none.json")


@pytest.mark.slow
@pytest.mark.data
def test_people_agree_to_four_fifths(real_data):
    """One annotator's drawing as the prediction, against those of the others."""
    threshold, counts = spread_thresholds(1), []
    truths_by_name = list_truths(real_data("bsds500/data/groundTruth/val"))
    for path in list(truths_by_name.values())[::25]:
        truths = read_truth(path)
        counts.append(count_matches(truths[0].astype(float), truths[1:], threshold))
    assert 0.7 < score(np.stack(counts), threshold).ods < 0.9
