"""Runs: what `dla fit` is told, what it logged, and that a changed study is noticed."""

import shutil
from pathlib import Path

import pytest
import yaml

from dla.compare.logged import read_epochs
from dla.compare.runs import plan, refuse_changed, write_config
from dla.compare.study import read_study


@pytest.fixture
def make(content, write, tmp_path):
    """The runs of a study that is changed a little."""

    def make(change=lambda content: None, **options):
        change(content)
        return plan(read_study(write(content)), tmp_path / "out", **options)

    return make


def test_every_row_has_the_first_seed_before_any_has_the_next(make):
    assert [run.name for run in make()] == ["plain, seed 0", "dla, seed 0", "plain, seed 1", "dla, seed 1"]


def test_what_fit_is_told(make, tmp_path):
    run = make()[3]
    write_config(run)
    config = yaml.safe_load(run.config_file.read_text())
    assert config["seed_everything"] == config["data"]["init_args"]["seed"] == 1
    assert config["model"]["init_args"] == {
        "optimizer": "adamw",
        "lr": 0.003,
        "network": "dla34",
        "options": {"stem_stride": 2, "width": 0.125},
    }
    assert config["trainer"]["default_root_dir"] == str(tmp_path / "out" / "runs" / "dla-seed1")
    stopwatch = {"class_path": "dla.compare.stopwatch.Stopwatch", "init_args": {"classes": 10, "image_size": 16}}
    assert config["trainer"]["callbacks"] == [stopwatch]


def test_callbacks_of_the_study_stay(make):
    mine = {"class_path": "lightning.pytorch.callbacks.Timer"}
    (run, *_) = make(lambda c: c["trainer"].update(callbacks=[mine]))
    assert run.config["trainer"]["callbacks"][0] == mine
    assert len(run.config["trainer"]["callbacks"]) == 2


def test_epochs_over_several_starts(make, log):
    run = make()[0]
    log(run.folder, 0, [(0, {"val/accuracy": 0.25}), (1, {"val/accuracy": 0.375})])
    log(run.folder, 2, [(1, {"val/accuracy": 0.5})])
    log(run.folder, 10, [(1, {"val/accuracy": 0.75, "train/loss": 1.5}), (2, {"train/loss": 1.0})])
    epochs = read_epochs(run)
    assert [(e.number, e.score, e.loss) for e in epochs] == [(1, 25, None), (2, 75, 1.5), (3, None, 1.0)]


def test_of_many_starts_the_last_one_counts(make, log):
    run = make()[0]
    for version in range(12):
        log(run.folder, version, [(0, {"val/accuracy": version / 16})])
    assert [epoch.score for epoch in read_epochs(run)] == [100 * 11 / 16]


def test_a_line_that_was_cut_off_is_left_out(make, log):
    run = make()[0]
    log(run.folder, 0, [(0, {"val/accuracy": 0.25, "train/loss": 1.5})])
    with (run.folder / "metrics" / "version_0" / "metrics.csv").open("a") as file:
        file.write("1,4")
    assert [(e.number, e.score) for e in read_epochs(run)] == [(1, 25)]


def test_states(make, finish):
    run = make()[0]
    assert run.state == "not begun"
    run.last.parent.mkdir(parents=True)
    run.last.touch()
    assert run.state == "stopped"
    finish(run, [0.5])
    assert run.state == "finished"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["model"]["init_args"].update(lr=0.1), r"model\.init_args\.lr was 0\.003 and is 0\.1"),
        (lambda c: c["rows"]["dla"]["options"].update(width=0.25), r"options\.width was 0\.125 and is 0\.25"),
        (lambda c: c["trainer"].update(precision="bf16-mixed"), r"trainer\.precision was None and is 'bf16-mixed'"),
    ],
)
def test_a_changed_study_is_refused(make, finish, change, message):
    run = make()[1]
    finish(run, [0.5])
    with pytest.raises(ValueError, match=rf"dla-seed0 was trained by another study: .*{message}\. Put the study back"):
        refuse_changed(make(change)[1])


def test_words_and_places_may_change(make, finish):
    root = lambda c: c["data"]["init_args"].update(root="here")  # noqa: E731
    for run in make(root):
        finish(run, [0.5])
    words = lambda c: (root(c), c.update(title="Other", target=None))  # noqa: E731
    for run in make(words, data_root="elsewhere"):
        assert run.config["data"]["init_args"]["root"] == "elsewhere"
        refuse_changed(run)


def test_data_without_a_root(make):
    with pytest.raises(ValueError, match=r"DigitsData has no root in this study: leave out --data\.root"):
        make(data_root="elsewhere")


def test_another_folder_is_no_change(make, finish, tmp_path):
    run = make()[0]
    finish(run, [0.5])
    moved = Path(tmp_path / "moved")
    (tmp_path / "out").rename(moved)
    folder = moved / "runs" / run.folder.name
    refuse_changed(run._replace(folder=folder))


def test_a_run_of_another_machine_joins_by_its_copy(content, write, finish, tmp_path):
    study = read_study(write(content))
    theirs, ours = (plan(study, tmp_path / machine)[2] for machine in ("theirs", "ours"))
    finish(theirs, [0.5])
    shutil.copytree(theirs.folder, ours.folder)
    shutil.copy(theirs.config_file, ours.config_file)
    refuse_changed(ours)
    assert (ours.state, [epoch.score for epoch in read_epochs(ours)]) == ("finished", [50])


def test_what_did_not_begin_may_change(make):
    write_config(make()[0])
    refuse_changed(make(lambda c: c["model"]["init_args"].update(lr=0.1))[0])


def test_lines_of_steps_are_passed_over(make):
    """As Lightning's LearningRateMonitor writes them."""
    run = make()[0]
    metrics = run.folder / "metrics" / "version_0" / "metrics.csv"
    metrics.parent.mkdir(parents=True)
    metrics.write_text(f"epoch,lr-SGD,step,{run.logged}\n,0.1,0,\n0,,9,0.5\n")
    assert [(epoch.number, epoch.score) for epoch in read_epochs(run)] == [(1, 50)]
