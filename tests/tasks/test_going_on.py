"""How a run is started again: by the same command, by Slurm, by an own checkpoint, without what it began with."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from run_files import last, logged, read_rows

import dla
from dla.cli import main
from dla.predict import load_predictor

TINY = [
    "--model=ClassificationTask",
    "--model.network=dla46_c",
    "--model.options={stem_stride: 1, width: 0.25}",
    "--data=DigitsData",
    "--data.size=8",
    "--data.pad=1",
    "--data.batch_size=8",
    "--data.val_batch_size=8",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.limit_train_batches=3",
    "--trainer.limit_val_batches=2",  # not 1, which may be read as 1.0, all of them
]


def fit(root: Path, *options: str, epochs: int = 1) -> int:
    return main(["fit", *TINY, f"--trainer.default_root_dir={root}", f"--trainer.max_epochs={epochs}", *options])


def measured(root: Path, column: str = "val/accuracy") -> list[int]:
    """Epochs, counted from 1, that have a value in a run's metrics."""
    return [int(row["epoch"]) + 1 for row in read_rows(root / "metrics/version_0/metrics.csv") if row[column]]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of one epoch, which no test may change."""
    root = tmp_path_factory.mktemp("run")
    assert fit(root) == 0
    return root


@pytest.fixture
def begun(tmp_path) -> Path:
    """A run of one epoch, to go on with."""
    assert fit(tmp_path) == 0
    return tmp_path


@pytest.fixture
def slurm(monkeypatch) -> None:
    """The environment of a job that Slurm started."""
    for name, value in {"NTASKS": "1", "JOB_ID": "7", "JOB_NAME": "train", "PROCID": "0", "LOCALID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)


def test_one_command_starts_a_run_and_goes_on_with_it(tmp_path, capsys):
    for epochs, told in ((1, "has no checkpoint yet: training starts from"), (2, "checkpoint: ")):
        assert fit(tmp_path, "--ckpt_path=last", epochs=epochs) == 0
        assert last(tmp_path)["epoch"] == epochs - 1
        assert told in capsys.readouterr().out
    assert last(tmp_path)["global_step"] == 2 * 3


def test_the_best_of_a_run_is_measured_by_name(run, tmp_path, capsys):
    assert main(["validate", f"--config={run}/config.yaml", "--ckpt_path=best"]) == 0
    elsewhere = f"--trainer.default_root_dir={tmp_path}"
    assert main(["validate", f"--config={run}/config.yaml", "--ckpt_path=best", elsewhere]) == 1
    assert f"there is no file {tmp_path}/checkpoints/best.ckpt" in capsys.readouterr().err


def test_what_slurm_starts_again_goes_on(begun, slurm):
    shutil.copy(begun / "checkpoints" / "last.ckpt", begun / "hpc_ckpt_1.ckpt")
    assert fit(begun, epochs=2) == 0
    assert last(begun)["global_step"] == 2 * 3


def test_of_what_slurm_starts_again_tensors_alone_are_unpickled(begun, slurm):
    torch.save({**last(begun), "more": Path("x")}, begun / "hpc_ckpt_1.ckpt")
    with pytest.raises(Exception, match="weights_only"):
        fit(begun, epochs=2)


def test_a_checkpoint_of_ones_own_in_the_runs_folder_is_of_the_run(begun):
    own = begun / "within" / "step.ckpt"
    own.parent.mkdir()
    shutil.copy(begun / "checkpoints" / "last.ckpt", own)
    assert fit(begun, f"--ckpt_path={own}", epochs=2) == 0
    assert last(begun)["global_step"] == 2 * 3


def test_a_run_goes_on_and_is_measured_without_the_weights_that_it_began_with(tmp_path, capsys):
    weights, root = tmp_path / "start.pth", tmp_path / "run"
    torch.save(dla.create_model("dla46_c", stem_stride=1, width=0.25, num_classes=5).state_dict(), weights)
    assert fit(root, f"--model.weights={weights}", "--model.new_head=true") == 0
    out = capsys.readouterr().out
    assert re.search(r"^\d+ images of train, \d+ images of val$", out, flags=re.MULTILINE)
    assert re.search(rf"^{weights}: \d+ tensors loaded, layout: ours$", out, flags=re.MULTILINE)
    weights.unlink()
    config = root / "config.yaml"
    assert main(["fit", f"--config={config}", "--ckpt_path=last", "--trainer.max_epochs=2"]) == 0
    assert "tensors loaded" not in capsys.readouterr().out
    assert yaml.safe_load(config.read_text())["model"]["init_args"]["weights"] == str(weights)  # as it was begun
    assert main(["validate", f"--config={config}", "--ckpt_path=best"]) == 0


@pytest.mark.slow
def test_a_network_named_with_its_weights_is_built_without_them(tmp_path, monkeypatch):
    """The stem of the weights in the package is another one, which the checkpoint's network must have too."""
    start = ["--model.network=dla46_c.cifar10", "--model.options=null", "--data.size=32"]
    assert fit(tmp_path, *start) == 0
    monkeypatch.setattr("dla.models.own.load_weights", lambda *_: pytest.fail("the weights were loaded once more"))
    assert main(["validate", f"--config={tmp_path}/config.yaml", "--ckpt_path=best"]) == 0
    assert main(["fit", f"--config={tmp_path}/config.yaml", "--ckpt_path=last", "--trainer.max_epochs=2"]) == 0
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["model"]["init_args"]["network"] == "dla46_c.cifar10"


@pytest.mark.slow
def test_a_backbone_named_with_its_weights_keeps_their_stem(tmp_path):
    within = "--model.options={backbone_options: {drop_path_rate: 0.1}}"
    assert fit(tmp_path, "--model.network=dla46_c.cifar10+ida", within, "--data.size=32") == 0
    assert main(["fit", f"--config={tmp_path}/config.yaml", "--ckpt_path=last", "--trainer.max_epochs=2"]) == 0
    assert last(tmp_path)["epoch"] == 1
    options = last(tmp_path)["dla"]["options"]
    assert options["backbone_options"] == {"stem_stride": 1, "drop_path_rate": 0.1}
    load_predictor(tmp_path / "checkpoints" / "last.ckpt")


def test_the_last_epoch_is_measured_whatever_divides_it(tmp_path):
    assert fit(tmp_path, "--trainer.check_val_every_n_epoch=3", epochs=5) == 0
    assert measured(tmp_path) == [3, 5]


def test_what_is_shown_says_of_which_epoch_it_is(tmp_path, capsys):
    assert fit(tmp_path, "--trainer.check_val_every_n_epoch=2", "--trainer.max_steps=9", epochs=5) == 0
    assert measured(tmp_path) == [2]
    assert "validation, epoch 2 of 3" in capsys.readouterr().out
    assert fit(tmp_path, "--ckpt_path=last", epochs=4) == 0
    assert "validation, last epoch" in capsys.readouterr().out


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_goes_on_within_an_epoch_with_the_images_that_it_has_not_had(tmp_path, recwarn, workers):
    """The checkpoint is of a validation in the middle of the second epoch."""
    keep = {"dirpath": f"{tmp_path}/kept", "filename": "{step}", "save_top_k": -1, "monitor": "val/accuracy"}
    callback = {"class_path": "ModelCheckpoint", "init_args": {**keep, "save_on_train_epoch_end": False}}
    options = ("--trainer.val_check_interval=2", f"--data.workers={workers}")
    assert fit(tmp_path / "whole", *options, f"--trainer.callbacks+={json.dumps(callback)}", epochs=3) == 0
    shutil.copytree(tmp_path / "kept", tmp_path / "other" / "kept")
    assert fit(tmp_path / "other", *options, f"--ckpt_path={tmp_path}/other/kept/step=5.ckpt", epochs=3) == 0
    whole, other = last(tmp_path / "whole"), last(tmp_path / "other")
    assert whole["global_step"] == other["global_step"] == 3 * 3
    for name, tensor in whole["state_dict"].items():
        assert torch.equal(tensor, other["state_dict"][name]), name
    assert not any("unreliable" in str(warning.message) for warning in recwarn)


def test_checkpoints_of_ones_own_stand_beside_those_of_the_run(tmp_path, capsys):
    every, best, lowest = (
        {"class_path": "ModelCheckpoint", "init_args": {"dirpath": f"{tmp_path}/own", "filename": "{epoch}", **options}}
        for options in ({"save_top_k": -1}, {"monitor": "val/accuracy", "mode": "max"}, {"monitor": "train/loss"})
    )
    options = [f"--trainer.callbacks+={json.dumps(callback)}" for callback in (every, best, lowest)]
    assert fit(tmp_path, *options) == 0
    assert capsys.readouterr().out.count("best: ") == 2  # the lowest loss is no accuracy
    assert fit(tmp_path, *options, "--ckpt_path=last", epochs=2) == 0
    assert {"epoch=0.ckpt", "epoch=1.ckpt"} <= {path.name for path in (tmp_path / "own").iterdir()}
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


def test_going_on_behind_an_epoch_that_was_cut_off_says_so(tmp_path, capsys):
    assert fit(tmp_path, "--trainer.max_steps=5", epochs=3) == 0
    whole = tmp_path / "whole.ckpt"
    assert fit(tmp_path, "--ckpt_path=last", epochs=3) == 0
    assert "warning: epoch 2 was cut off after 2 batches: its rest is left out" in capsys.readouterr().out
    assert last(tmp_path)["global_step"] == 5 + 3
    shutil.copy(tmp_path / "checkpoints" / "last.ckpt", whole)
    assert fit(tmp_path, f"--ckpt_path={whole}", epochs=4) == 0
    assert "cut off" not in capsys.readouterr().out


@pytest.mark.parametrize("interval", [2, 3])
def test_going_on_within_a_step_says_so(interval, tmp_path, capsys):
    options = ["--trainer.accumulate_grad_batches=2", f"--trainer.val_check_interval={interval}"]
    options += ["--trainer.limit_train_batches=5"]
    assert fit(tmp_path, *options) == 0
    assert fit(tmp_path, *options, "--ckpt_path=best") == 0
    said = "warning: the checkpoint is of within a step: the gradients of 1 of its 2 batches are lost"
    assert (said in capsys.readouterr().out) == (interval == 3)


def test_a_run_that_diverges_ends_in_one_line_and_keeps_nothing(tmp_path, capsys):
    assert fit(tmp_path, "--model.lr=1e30", "--model.schedule=constant", epochs=3) == 1
    said = capsys.readouterr().err
    assert "the loss is nan at the end of epoch 1, training has diverged: lower --model.lr or" in said
    assert said.count("\n") == 1
    assert not list(tmp_path.rglob("*.ckpt"))


def test_so_does_a_run_without_validation(tmp_path, capsys):
    options = ["--model.lr=1e30", "--model.schedule=constant", "--trainer.limit_val_batches=0"]
    assert fit(tmp_path, *options, epochs=3) == 1
    assert "the loss is nan at the end of epoch 1, training has diverged" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.ckpt"))


def test_an_average_of_weights_is_measured_and_used(tmp_path):
    average = '{"class_path": "EMAWeightAveraging", "init_args": {"decay": 0.5}}'
    assert fit(tmp_path, f"--trainer.callbacks+={average}") == 0
    assert main(["validate", f"--config={tmp_path}/config.yaml", "--ckpt_path=last"]) == 0  # and no word of warning
    used, kept = load_predictor(str(tmp_path / "checkpoints" / "last.ckpt")).model.stem[0][0].weight, last(tmp_path)
    averaged, trained = (kept[part]["model.stem.0.0.weight"] for part in ("state_dict", "current_model_state"))
    assert torch.equal(used, averaged)
    assert not torch.equal(averaged, trained)


def test_an_average_that_would_get_lost_is_refused(tmp_path, capsys):
    average = '{"class_path": "StochasticWeightAveraging", "init_args": {"swa_lrs": 0.01, "device": null}}'
    assert fit(tmp_path, f"--trainer.callbacks+={average}") == 1
    said = capsys.readouterr().err
    assert "StochasticWeightAveraging sets the learning rate, as the task's schedule does" in said
    assert said.count("\n") == 1


def test_a_run_without_validation_says_that_nothing_was_measured(tmp_path, capsys):
    assert fit(tmp_path, "--trainer.limit_val_batches=0") == 0
    assert "nothing was measured: validation is switched off" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:You requested to overfit but enabled")
def test_a_batch_can_be_overfitted(tmp_path):
    assert fit(tmp_path, "--trainer.overfit_batches=1", epochs=2) == 0
    assert last(tmp_path)["global_step"] == 2


@pytest.mark.filterwarnings("ignore:You are trying to `self.log")
def test_a_bare_run_trains_and_keeps_no_logs_and_checkpoints(tmp_path):
    assert fit(tmp_path, "--trainer.barebones=true") == 0
    assert {"checkpoints", "metrics", "tensorboard"}.isdisjoint(path.name for path in tmp_path.iterdir())


@pytest.mark.slow
def test_another_seed_draws_other_images(tmp_path):
    orders = {}
    for name, options in {
        "0": [],
        "1": ["--seed_everything=1"],
        "again": ["--seed_everything=1"],
        "own": ["--seed_everything=1", "--data.seed=0"],
    }.items():
        assert fit(tmp_path / name, *options) == 0
        orders[name] = logged(tmp_path / name, "train/loss")
    assert orders["1"] == orders["again"]
    assert len({tuple(order) for order in orders.values()}) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--trainer.accelerator=gpu", "--model.options=null"], "No supported gpu backend found!"),
        (
            ["--data.batch_size=1", "--model.options={stem_stride: 4, width: 0.25}"],
            "batch norm cannot train on a map of the size [1, 8, 1, 1]: raise --data.batch_size, or the images' size",
        ),
        (
            ["--model.network=torchvision/squeezenet1_1", "--model.drop_path_rate=0.1", "--model.options=null"],
            "does not know an option",
        ),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU where there is none")
def test_what_cannot_be_done_here_is_one_line(options, message, tmp_path, capsys):
    assert fit(tmp_path, *options) in (1, 2)
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
