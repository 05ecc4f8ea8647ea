"""The command line's first word, and the table of networks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dla.cli import CLOSED, COMMANDS, main


def test_without_a_command_it_teaches(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(
        command in out
        for command in ("fit", "validate", "test", "predict", "models", "aggregate", "evaluate-boundaries")
    )


def test_an_unknown_command_is_an_error(capsys):
    assert main(["train"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "'train' is not a command" in captured.err


def test_models_prints_the_table(capsys):
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert "dla102x2  split 64" in out
    assert "41,282,200    9.284 G" in out


@pytest.mark.parametrize("command", ["--help", "models", "aggregate test_resnet --structure ida --size 64"])
def test_output_that_nobody_reads_ends_a_command_quietly(command):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        done = subprocess.run([sys.executable, "-m", "dla", *command.split()], stdout=closed, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (CLOSED, b"")


def test_output_to_a_full_disk_is_said():
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, "-m", "dla", "models"], stdout=full, stderr=subprocess.PIPE)
    said = b"dla: the output cannot be written (No space left on device): make room\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_python_m_dla_is_dla():
    command = [sys.executable, "-m", "dla", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: dla COMMAND")


@pytest.mark.parametrize("command", ["fit", "predict", "aggregate", "evaluate-boundaries", "plot-boundaries"])
def test_each_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert len(printed) > 400
    assert printed.startswith("usage: dla ")


def test_predict_is_ours_and_not_lightnings(capsys):
    assert main(["predict", "nowhere.jpg", "--model", "dla34", "--output", "out"]) == 2
    assert "no image at nowhere.jpg" in capsys.readouterr().err


def test_a_missing_data_folder_is_named(tmp_path, capsys):
    arguments = ["--model=SegmentationTask", "--data=CamVidData", f"--data.root={tmp_path}/none"]
    assert main(["fit", *arguments, f"--trainer.default_root_dir={tmp_path}", "--trainer.max_epochs=1"]) == 1
    assert f"{tmp_path}/none" in capsys.readouterr().err


def test_ctrl_c_while_a_command_is_imported_is_no_traceback(tmp_path, monkeypatch, capsys):
    (tmp_path / "slow_to_import.py").write_text("raise KeyboardInterrupt")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(COMMANDS, "models", ("slow_to_import", "main"))
    assert main(["models"]) == 130
    assert capsys.readouterr().err == "dla: interrupted\n"


def test_closed_standard_output_is_no_traceback(tmp_path):
    shell = f"{sys.executable} -m dla models >&-"
    done = subprocess.run(["sh", "-c", shell], stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
