"""`dla compare` from end to end: real runs of `dla fit`, kept, gone on with, failed and refused."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dla.compare.command import main
from dla.compare.logged import read_epochs
from dla.compare.runs import plan, write_config
from dla.compare.study import read_study

COMPARE = "import sys; from dla.compare.command import main; sys.exit(main(sys.argv[1:]))"


def table(folder):
    lines = [line for line in (folder / "table.md").read_text().splitlines() if line.startswith("|")][2:]
    return {line.split("|")[1].strip(): line for line in lines}


def test_dry_run(content, write, tmp_path, capsys):
    del content["match"]
    assert main([str(write(content)), "--output", str(tmp_path / "out"), "--dry-run", "--seeds", "1"]) == 0
    out = capsys.readouterr().out
    assert "| dla | dla34, width 0.125 |" in out
    assert "plain, seed 1: not begun" in out
    assert "seed 0:" not in out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "dla,tree"], "the study has no row tree; it has plain, dla"),
        (["--seeds", "7"], "the study has no seed 7; it has 0, 1"),
    ],
)
def test_unknown_rows_and_seeds(content, write, tmp_path, capsys, arguments, message):
    del content["match"]
    assert main([str(write(content)), "--output", str(tmp_path / "out"), *arguments]) == 2
    assert capsys.readouterr().err == f"dla compare: error: {message}\n"


@pytest.mark.slow
def test_a_study_of_dense_networks(content, write, tmp_path):
    content["model"] = {"class_path": "dla.tasks.SegmentationTask", "init_args": {"options": {"out_channels": 8}}}
    content["data"] = {"class_path": "dla.data.ScenesData", "init_args": {"size": 32, "train_images": 8}}
    content["data"]["init_args"] |= {"val_images": 2, "batch_size": 4, "workers": 0}
    content |= {"image_size": 32, "classes": 6, "seeds": [0], "target": 1}
    content["rows"] = {"ida": {"network": "test_resnet+ida"}, "fcn": {"network": "test_resnet+fcn"}}
    content["trainer"] = {"max_epochs": 1, "accelerator": "cpu"}
    del content["match"]
    out = tmp_path / "out"
    assert main([str(write(content)), "--output", str(out), "--rows", "ida"]) == 0
    assert "not run" in table(out)["fcn"]
    (epoch,) = read_epochs(plan(read_study(write(content)), out)[0])
    assert f"| {epoch.score:.2f} | {epoch.score:.2f} |" in table(out)["ida"]
    assert "- mean IoU: in percent, of the val split of ScenesData" in (out / "table.md").read_text()
    assert (out / "curves.csv").read_text().startswith("row,seed,epoch,train_loss,val_miou,")


def test_no_study(tmp_path, capsys):
    assert main([str(tmp_path / "none.yaml"), "--output", str(tmp_path / "out")]) == 2
    assert "no study" in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--dry-run"], ["--rows", "dla"]])
def test_a_changed_study_is_refused_before_anything_is_trained_or_written(
    content, write, finish, tmp_path, capsys, options
):
    """Also where the run that began is not asked for, since one table would hold both budgets."""
    del content["match"]
    (run, *_) = plan(read_study(write(content)), tmp_path / "out")
    finish(run, [0.5])
    (tmp_path / "out" / "table.md").write_text("of the study as it was")
    content["trainer"]["max_epochs"] = 3
    assert main([str(write(content)), "--output", str(tmp_path / "out"), *options]) == 2
    assert "trainer.max_epochs was 2 and is 3" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out" / "runs").glob("*.log")] == []
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"runs", "table.md"}
    assert (tmp_path / "out" / "table.md").read_text() == "of the study as it was"


@pytest.mark.slow
@pytest.mark.timeout(900)  # four processes that each load torch and lightning, on whatever else the machine does
def test_a_study_row_by_row(content, write, tmp_path, capfd, monkeypatch):
    """One row and one seed first; then the others, among them one that fails; what is finished is kept."""
    content["seeds"] = [0]
    del content["match"]  # widths are searched in test_costs
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")  # as of a log on Windows
    path, out = write(content), tmp_path / "Läufe"
    assert main([str(path), "--output", str(out), "--rows", "dla"]) == 0
    said = capfd.readouterr()
    assert "dla, seed 0: epoch 2 of 2, " in said.err
    assert f"1 of 2 runs finished; see {out / 'table.md'}" in said.out
    assert "not run" in table(out)["chain"]
    assert "not run" not in table(out)["dla"]
    before = (out / "runs" / "dla-seed0" / "checkpoints" / "last.ckpt").stat().st_mtime_ns

    content["rows"]["broken"] = {"network": "dla34"}
    broken = _broken(read_study(write(content)), out)
    assert main([str(path), "--output", str(out)]) == 2
    said = capfd.readouterr().err
    assert "1 of 3 runs are finished already" in said
    assert f"broken, seed 0 failed; the end of {broken.log}:\n" in said
    assert str(broken.last) in said.partition("failed")[2]  # what fit said of it
    assert main([str(path), "--output", str(out), "--rows", "dla"]) == 0  # of another row
    assert "failed: seed 0" in table(out)["broken"]
    assert "1 of 1" in table(out)["chain"]
    assert (out / "runs" / "dla-seed0" / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before
    assert (out / "picture.png").exists()


def _broken(study, out):
    """A run whose only checkpoint is rubbish."""
    (run,) = [run for run in plan(study, out) if run.row.name == "broken"]
    write_config(run)
    run.last.parent.mkdir(parents=True)
    run.last.write_text("rubbish")
    return run


@pytest.mark.slow
@pytest.mark.timeout(900)  # four processes that each load torch and lightning, on whatever else the machine does
def test_a_stopped_study_goes_on_to_the_same_end(content, write, tmp_path):
    """Stopped after its first epoch, a run learns in its second what it would have learnt without the stop."""
    content |= {"seeds": [0], "rows": {"dla": content["rows"]["dla"]}}
    content["trainer"]["limit_train_batches"] = 40  # long enough to be stopped within
    path = write(content)
    (run,) = plan(read_study(path), tmp_path / "out")
    (whole,) = plan(read_study(path), tmp_path / "whole")
    start = [sys.executable, "-c", COMPARE, str(path), "--output"]
    process = subprocess.Popen([*start, str(tmp_path / "out")], stderr=subprocess.PIPE, text=True)
    limit = time.monotonic() + 120
    while not run.last.exists() and time.monotonic() < limit:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=90)
    assert process.returncode == 130, said
    assert "the same command goes on from here" in said
    assert run.state == "stopped"

    assert main([str(path), "--output", str(tmp_path / "out")]) == 0
    assert main([str(path), "--output", str(tmp_path / "whole")]) == 0
    learnt = [[(e.number, e.loss, e.score) for e in read_epochs(one)][-1] for one in (run, whole)]
    assert learnt[0] == learnt[1]
    assert (run.folder / "metrics" / "version_1").exists()  # it was really stopped


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_that_something_else_ends_is_not_finished(content, write, tmp_path):
    """As a machine that runs out of time does, by SIGTERM."""
    content |= {"seeds": [0], "rows": {"dla": content["rows"]["dla"]}}
    content["trainer"] |= {"limit_train_batches": 40, "max_epochs": 30}
    (run,) = plan(read_study(path := write(content)), tmp_path / "out")
    command = [sys.executable, "-c", COMPARE, str(path), "--output", str(tmp_path / "out")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as compare:
        limit = time.monotonic() + 120
        while not run.last.exists() and time.monotonic() < limit:
            time.sleep(0.05)
        (child,) = Path(f"/proc/{compare.pid}/task/{compare.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGTERM)
        _, said = compare.communicate(timeout=120)
    assert compare.returncode == 2
    assert "dla, seed 0 failed" in said
    assert "stopped by SIGTERM before its end" in said
    assert run.state == "failed"
    assert run.last.exists()


@pytest.mark.slow
def test_without_the_extra_says_what_to_install(content, write, tmp_path):
    """matplotlib, of the extra [train], is hidden."""
    hide = f"import sys; sys.modules['matplotlib'] = None; {COMPARE}"
    command = [sys.executable, "-c", hide, str(write(content)), "--output", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=dict(os.environ))
    assert done.returncode == 2
    assert done.stderr.endswith("install what training needs by the extra [train]\n")
