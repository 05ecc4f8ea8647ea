"""The commands `dla evaluate-boundaries` and `dla plot-boundaries` on real files: what they write, say and return."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from image_files import save_image
from PIL import Image

from dla.cli import main


@pytest.fixture
def folders(tmp_path) -> tuple[str, str]:
    """Predictions and truths of three images."""
    rng = np.random.default_rng(0)
    for name in "abc":
        save_image(tmp_path / "maps" / f"{name}.png", (rng.random((30, 41)) ** 12 * 255).astype(np.uint8))
        save_image(tmp_path / "truth" / f"{name}.png", (rng.random((30, 41)) < 0.05).astype(np.uint8))
    return str(tmp_path / "maps"), str(tmp_path / "truth")


def evaluate(folders: tuple[str, str], output: Path, *options: str) -> int:
    few = ["--workers", "1", "--thresholds", "3", "--max-dist", "0.03"]
    return main(["evaluate-boundaries", *folders, "--output", str(output), *few, *options])


def test_the_images_of_a_list_are_measured(folders, tmp_path, capsys):
    (tmp_path / "val.txt").write_text("c\na\n")
    Path(folders[0], "b.png").unlink()
    assert evaluate(folders, tmp_path / "out", "--names", str(tmp_path / "val.txt")) == 0
    assert list(json.loads((tmp_path / "out" / "results.json").read_text())["images"]) == ["a", "c"]
    (tmp_path / "val.txt").write_text("a\nz\n")
    assert evaluate(folders, tmp_path / "other", "--names", str(tmp_path / "val.txt")) == 2
    assert f"1 of 2 names have no ground truth in {folders[1]}; the first is z" in capsys.readouterr().err


def test_a_folder_is_measured(folders, tmp_path, capsys):
    assert evaluate(folders, tmp_path / "new" / "out") == 0
    out = tmp_path / "new" / "out"
    assert {path.name for path in out.iterdir()} == {"results.json", "curve.csv", "curve.png", "images"}
    table = json.loads((out / "results.json").read_text())
    captured = capsys.readouterr()
    assert captured.out.startswith(f"ODS {table['ods']:.4f}  OIS {table['ois']:.4f}  AP {table['ap']:.4f}")
    assert "matching" in captured.err
    assert len(table["images"]["a"]["counts"]) == 3


def test_soft_maps_without_suppression_are_minded(folders, tmp_path, capsys):
    assert evaluate(folders, tmp_path / "thin") == 0
    assert "--nms hed" not in capsys.readouterr().err
    save_image(tmp_path / "maps" / "a.png", np.full((30, 41), 9, np.uint8))
    assert evaluate(folders, tmp_path / "soft") == 0
    assert "most pixels of" in capsys.readouterr().err
    assert evaluate(folders, tmp_path / "hed", "--nms", "hed") == 0
    assert "most pixels of" not in capsys.readouterr().err


def test_masks_of_0_and_1_are_minded(folders, tmp_path, capsys):
    mask = (np.random.default_rng(0).random((30, 41)) < 0.05).astype(np.uint8)
    for name in "abc":
        save_image(tmp_path / "maps" / f"{name}.png", mask)
    assert evaluate(folders, tmp_path / "out") == 0
    assert "is above 1/255; in PNGs 255 stands for 1, so masks" in " ".join(capsys.readouterr().err.split())


def test_a_folder_that_cannot_be_made_is_named(folders, tmp_path, capsys):
    (tmp_path / "photo.jpg").touch()
    assert evaluate(folders, tmp_path / "photo.jpg" / "out") == 2
    assert "photo.jpg/out cannot be written to (Not a directory): choose another folder" in capsys.readouterr().err


def test_a_map_without_truth_is_not_looked_at(folders, tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "maps" / "_legend.png")
    assert evaluate(folders, tmp_path / "out") == 0


def test_the_benchmark_is_what_is_measured_by_default(folders, tmp_path):
    assert main(["evaluate-boundaries", *folders, "--output", str(tmp_path / "out")]) == 0
    table = json.loads((tmp_path / "out" / "results.json").read_text())
    assert table["settings"] == {"thresholds": 99, "max_dist": 0.0075, "nms": None}
    assert len(table["images"]["a"]["counts"]) == 99
    assert table["ods"] > 0


def test_suppression_has_presets_and_parameters(folders, tmp_path):
    settings = []
    for number, options in enumerate(
        ([], ["--nms", "hed"], ["--nms", "rcf", "--nms-radius", "3", "--nms-border", "0"])
    ):
        assert evaluate(folders, tmp_path / str(number), *options) == 0
        settings.append(json.loads((tmp_path / str(number) / "results.json").read_text())["settings"]["nms"])
    assert settings == [
        None,
        {"smooth": True, "radius": 1, "margin": 1.01, "border": 5},
        {"smooth": False, "radius": 3, "margin": 1.01, "border": 0},
    ]


def test_several_results_in_one_picture(folders, tmp_path, capsys):
    assert evaluate(folders, tmp_path / "plain") == evaluate(folders, tmp_path / "thin", "--nms", "hed") == 0
    capsys.readouterr()
    files = [str(tmp_path / name / "results.json") for name in ("plain", "thin")]
    assert main(["plot-boundaries", *files, "--output", str(tmp_path / "pictures" / "both.svg")]) == 0
    picture = (tmp_path / "pictures" / "both.svg").read_text()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[-1] for line in lines] == ["plain", "thin"]
    assert picture.count("[F=") == 2
    assert "F=0.5" in picture


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda maps, truth: (maps / "b.png").unlink(), "expected b.png, .npy or .mat"),
        (
            lambda maps, truth: save_image(maps / "b.png", np.zeros((4, 5), np.uint8)),
            "b.png: the map is 5x4 but its ground truth 41x30",
        ),
        (lambda maps, truth: (maps / "b.png").write_bytes(b"no"), "b.png cannot be read"),
        (lambda maps, truth: (truth / "b.png").write_bytes(b"no"), "b.png cannot be read"),
        (lambda maps, truth: (maps / "b.npy").touch(), "have one name"),
        (lambda maps, truth: [path.unlink() for path in truth.iterdir()], "no .mat or .png file"),
    ],
)
def test_what_is_wrong_is_named(folders, tmp_path, capsys, change, message):
    change(*map(Path, folders))
    assert evaluate(folders, tmp_path / "out") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "dla evaluate-boundaries: error: " in captured.err
    assert message in captured.err
    assert not (tmp_path / "out" / "results.json").exists()


def test_suppression_parameters_without_suppression_are_refused(folders, tmp_path, capsys):
    assert evaluate(folders, tmp_path / "out", "--nms-radius", "2") == 2
    assert "add --nms hed or --nms rcf" in capsys.readouterr().err


def test_a_picture_without_a_format_is_refused(folders, tmp_path, capsys):
    assert evaluate(folders, tmp_path / "out") == 0
    assert main(["plot-boundaries", str(tmp_path / "out" / "results.json"), "--output", str(tmp_path / "x")]) == 2
    assert "x says no format: end it in .png, .svg or .pdf" in capsys.readouterr().err


def test_wrong_results_are_named(tmp_path, capsys):
    assert main(["plot-boundaries", str(tmp_path / "none.json"), "--output", str(tmp_path / "a.png")]) == 2
    assert f"dla plot-boundaries: error: there is no {tmp_path}/none.json" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["scipy", "matplotlib"])
def test_a_missing_extra_is_named(folders, tmp_path, capsys, monkeypatch, missing):
    for name in [name for name in sys.modules if name.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setitem(sys.modules, missing, None)
    assert evaluate(folders, tmp_path / "out", "--nms", "hed") == 2
    assert "by the extra [train]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--thresholds", "0"], "'0' is not a positive whole number"),
        (["--nms-border", "-1"], "'-1' is not a whole number of at least 0"),
        (["--nms-margin", "0"], "'0' is not a positive number"),
        (["--max-dist", "far"], "'far' is not a number of at least 0"),
        (["--max-dist", "nan"], "'nan' is not a number of at least 0"),
        (["--nms", "canny"], "invalid choice: 'canny'"),
    ],
)
def test_arguments_that_make_no_sense_end_with_code_2(folders, tmp_path, capsys, wrong, message):
    with pytest.raises(SystemExit) as caught:
        evaluate(folders, tmp_path / "out", *wrong)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", ["evaluate-boundaries", "plot-boundaries"])
def test_help_shows_examples(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert f"dla {command} " in capsys.readouterr().out.split("\n\n", 2)[2]


def start_a_long_run(folder: Path) -> tuple[list[str], subprocess.Popen[str]]:
    """The command, and its process once two of twelve images are finished."""
    rng = np.random.default_rng(0)
    for number in range(12):
        save_image(folder / "maps" / f"{number}.png", (rng.random((150, 200)) ** 6 * 255).astype(np.uint8))
        save_image(folder / "truth" / f"{number}.png", (rng.random((150, 200)) < 0.05).astype(np.uint8))
    command = [sys.executable, "-m", "dla", "evaluate-boundaries", str(folder / "maps"), str(folder / "truth")]
    command += ["--workers", "2", "--thresholds", "30", "--output", str(folder / "out")]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # ignored where tests run in the background
    )
    while process.poll() is None and len(list((folder / "out" / "images").glob("*.json"))) < 2:
        time.sleep(0.02)
    return command, process


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kill", "number"),
    [(os.killpg, signal.SIGINT), (os.killpg, signal.SIGTERM), (os.kill, signal.SIGTERM)],
    ids=["as a terminal", "as a batch system", "as a container"],
)
def test_a_command_that_gets_the_signal_goes_on_later(tmp_path, kill, number):
    command, process = start_a_long_run(tmp_path)
    kept = tmp_path / "out" / "images"
    kill(process.pid, number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "dla evaluate-boundaries: interrupted; the same command goes on from here" in err
    assert 2 <= len(list(kept.iterdir())) < 12
    for path in kept.iterdir():
        json.loads(path.read_text())
    subprocess.run(command, check=True, timeout=240)
    assert len(json.loads((tmp_path / "out" / "results.json").read_text())["images"]) == 12


@pytest.mark.slow
def test_workers_end_with_a_command_that_is_killed(tmp_path):
    _, process = start_a_long_run(tmp_path)
    process.kill()
    process.communicate(timeout=30)  # returns when nobody holds the other end of the pipe any more
    assert len(list((tmp_path / "out" / "images").iterdir())) < 12
