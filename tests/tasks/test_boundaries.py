"""The boundary task: its loss, its side outputs, what it measures, and what its checkpoints predict."""

import json
import math
import re
import shutil
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from as_one import flat
from fit_command import DLA, fit_with, words
from image_files import save_image
from lightning import Trainer
from PIL import Image
from run_files import last, logged, read_rows

from dla.cli import main
from dla.data import BoundaryScenes
from dla.metrics.boundary import thin_crest
from dla.predict import load_predictor
from dla.tasks import BoundaryTask
from dla.tasks.boundaries import boundary_loss
from dla.weights.checkpoint import read_checkpoint

TINY = {
    "--model": "BoundaryTask",
    "--model.network": "dla46_cida",
    "--model.optimizer": "adamw",
    "--model.lr": "0.003",
    "--model.side_weight": "0.5",
    "--model.test_thresholds": "5",
    "--model.watch": "2",
    "--model.watch_thresholds": "5",
    "--data": "BoundaryScenesData",
    "--data.size": "48",
    "--data.train_images": "32",
    "--data.val_images": "4",
    "--data.val_batch_size": "1",
    "--data.batch_size": "8",
    "--trainer.accelerator": "cpu",
    "--trainer.enable_progress_bar": "false",
}
fit = partial(fit_with, TINY)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of eight epochs, long enough for the loss to fall."""
    root = tmp_path_factory.mktemp("run")
    assert fit(root, **{"--trainer.max_epochs": "8", "--trainer.check_val_every_n_epoch": "4"}) == 0
    return root


@pytest.fixture
def scores_and_mask():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(3, 2, 9, 7, generator=generator)
    mask = (torch.rand(3, 9, 7, generator=generator) < 0.2).long()
    mask[0, :2] = 255
    return scores, mask


def test_the_loss_is_the_authors(scores_and_mask):
    scores, mask = scores_and_mask
    expected = F.nll_loss(scores.log_softmax(1), mask, torch.tensor([1.0, 10.0]), ignore_index=255)
    torch.testing.assert_close(boundary_loss(scores, mask, 10.0), expected)


def test_the_balanced_loss_is_that_of_the_binary_paper(scores_and_mask):
    scores, mask = scores_and_mask
    expected, weights = 0.0, 0.0
    for image_scores, image_mask in zip(scores, mask, strict=True):
        probability = torch.sigmoid(image_scores[1] - image_scores[0])
        edge, ground = image_mask == 1, image_mask == 0
        beta = ground.sum() / (edge.sum() + ground.sum())
        expected -= beta * probability[edge].log().sum() + (1 - beta) * (1 - probability[ground]).log().sum()
        weights += beta * edge.sum() + (1 - beta) * ground.sum()
    torch.testing.assert_close(boundary_loss(scores, mask, None), expected / weights)


@pytest.mark.parametrize("edge_weight", [10.0, None])
def test_pixels_that_do_not_count_have_no_gradient_and_none_is_no_number_lost(scores_and_mask, edge_weight):
    scores, mask = scores_and_mask
    scores.requires_grad_()
    boundary_loss(scores, mask, edge_weight).backward()
    assert not scores.grad[0, :, :2].any()
    assert scores.grad[0, :, 2:].any()
    assert boundary_loss(scores, torch.full_like(mask, 255), edge_weight) == 0
    assert torch.isfinite(boundary_loss(scores, torch.zeros_like(mask), edge_weight))


@pytest.mark.parametrize("network", ["dla46_cup", "dla46_cida", "test_efficientnet+dla_up"])
def test_every_parameter_and_every_side_output_learns(network):
    torch.manual_seed(0)
    task = BoundaryTask(network=network, side_weight=0.5, options={"out_stride": 4})
    task.log = lambda *_, **__: None
    batch = {"image": torch.randn(2, 3, 70, 65), "mask": torch.randint(0, 2, (2, 70, 65))}
    task.training_step(batch, 0).backward()
    assert len(task.side_heads) == 3
    assert [name for name, p in task.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_the_losses_of_side_outputs_are_averaged():
    """Heads of zeros make each loss that of a coin, log 2."""
    task = BoundaryTask(network="dla46_cida", side_weight=0.5)
    task.log = lambda *_, **__: None
    for parameter in (*task.side_heads.parameters(), *task.model.head.parameters()):
        torch.nn.init.zeros_(parameter)
    batch = {"image": torch.randn(2, 3, 64, 64), "mask": torch.randint(0, 2, (2, 64, 64))}
    assert len(task.side_heads) > 1
    assert task.training_step(batch, 0).item() == pytest.approx(1.5 * math.log(2))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("decay_norms", [True, False])
def test_every_parameter_is_optimized(optimizer, decay_norms):
    task = BoundaryTask(network="dla46_cida", side_weight=0.5, optimizer=optimizer, decay_norms=decay_norms)
    groups = task.configure_optimizers().param_groups
    assert len(task.side_heads) > 0
    optimized = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(optimized) == sorted(id(parameter) for parameter in task.parameters())
    assert {group["lr"] for group in groups} == {task.lr}


def test_a_run_measures_and_learns(run):
    losses = logged(run, "train/loss")
    assert losses[-1] < 0.9 * losses[0]
    rows = [row for row in read_rows(run / "metrics/version_0/metrics.csv") if row["val/ods"]]
    assert [row["epoch"] for row in rows] == ["3", "7"]
    for name in ("ods", "ois"):
        assert 0 < float(rows[-1][f"val/{name}"]) <= 1
    assert "val/ap" not in rows[-1]  # too low at the few thresholds that are watched
    assert (run / "examples.png").stat().st_size > 1000
    assert (run / "training.png").stat().st_size > 1000


@pytest.mark.slow
def test_fit_watches_and_validate_measures_all(run, tmp_path):
    checkpoint = f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}"
    watched = {"--model.watch": "4", "--trainer.max_epochs": "8", "--trainer.check_val_every_n_epoch": "4"}
    assert fit(tmp_path, "--model.test_flip=true", **watched) == 0
    last_of = [(root / "metrics/version_0/metrics.csv").read_text().splitlines() for root in (run, tmp_path)]
    assert last_of[0][1] == last_of[1][1]  # the same training
    assert last_of[0] != last_of[1]  # measured on two images, and on four
    assert fit(run, "--model.watch=1", checkpoint, command="validate") == 0


def test_validate_prints_all_images_over_scales_and_flips(run, capsys):
    best = f"--ckpt_path={run / 'checkpoints' / 'best.ckpt'}"
    tables = []
    for chosen in ((), ("--model.test_scales=[0.5,1]",), ("--model.test_flip=true",)):
        assert fit(run, *chosen, best, command="validate") == 0
        tables.append(capsys.readouterr().out)
    assert all(word in tables[0] for word in ("ODS", "OIS", "AP"))
    assert len(set(tables)) == 3


def test_side_outputs_are_not_part_of_what_predicts(run, tmp_path):
    checkpoint = read_checkpoint(run / "checkpoints" / "best.ckpt")
    assert any(key.startswith("side_heads.") for key in checkpoint["state_dict"])
    predictor = load_predictor(run / "checkpoints" / "best.ckpt")
    assert predictor.task == "boundaries"
    assert not any("side" in key for key in predictor.model.state_dict())


def test_predict_writes_probabilities_crests_and_a_picture_of_them(run, tmp_path, capsys):
    pixels = np.zeros((50, 61, 3), np.uint8)
    pixels[:, 30:] = 200
    Image.fromarray(pixels).save(tmp_path / "step.png")
    out = tmp_path / "out"
    model, views = str(run / "checkpoints" / "best.ckpt"), ["--scales", "0.5", "1", "--flip"]
    assert main(["predict", str(tmp_path / "step.png"), "--model", model, "--output", str(out), *views]) == 0
    assert {path.name for path in out.iterdir()} == {"step.png", "step_thin.png", "step_overlay.jpg"}
    probabilities = load_predictor(model).boundaries(Image.fromarray(pixels), scales=(0.5, 1.0), flip=True)
    written = {name: np.asarray(Image.open(out / name)) for name in ("step.png", "step_thin.png", "step_overlay.jpg")}
    assert np.abs(written["step.png"] - 255 * probabilities).max() <= 0.5001
    np.testing.assert_array_equal(written["step_thin.png"], thin_crest(probabilities))
    assert written["step_overlay.jpg"].shape == (50, 61, 3)
    assert "wrote 1 boundary maps and overlays" in capsys.readouterr().out


def test_what_predict_writes_is_measured_as_by_validate(run, tmp_path, capsys):
    """The same images through files: what differs is that probabilities are rounded to 8 bits."""
    scenes, model = BoundaryScenes(4, size=48, split="val"), str(run / "checkpoints" / "best.ckpt")
    for index in range(4):
        image, (truth,) = scenes[index]
        save_image(tmp_path / "images" / f"{index}.png", image.movedim(0, -1).numpy())
        save_image(tmp_path / "truths" / f"{index}.png", truth.numpy())
    maps, measured = str(tmp_path / "maps"), str(tmp_path / "measured")
    assert main(["predict", str(tmp_path / "images"), "--model", model, "--output", maps]) == 0
    settings = ["--nms", "hed", "--thresholds", "5", "--workers", "1"]
    assert main(["evaluate-boundaries", maps, str(tmp_path / "truths"), "--output", measured, *settings]) == 0
    table = json.loads((tmp_path / "measured" / "results.json").read_text())
    assert list(table["images"]) == ["0", "1", "2", "3"]  # crests and overlays beside the maps do not count
    capsys.readouterr()
    assert fit(run, f"--ckpt_path={model}", command="validate") == 0
    printed = capsys.readouterr().out
    for name in ("ods", "ois", "ap"):
        assert float(re.search(rf"{name.upper()}\D+([\d.]+)", printed)[1]) == pytest.approx(100 * table[name], abs=1.5)


def test_crests_without_the_extra_are_named(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.ndimage", None)
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    model = str(run / "checkpoints" / "best.ckpt")
    assert main(["predict", str(tmp_path / "a.png"), "--model", model, "--output", str(tmp_path / "out")]) == 2
    assert "by the extra [train]" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


def test_training_watches_the_first_images_in_batches_of_any_size():
    task = BoundaryTask(network="dla46_cida", watch=3, watch_thresholds=2).eval()
    task.trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    drawn = [torch.eye(32, dtype=torch.bool)[None] for _ in range(8)]
    for start in (0, 2, 4):
        batch = {"image": torch.zeros(2, 3, 32, 32), "index": torch.tensor([start, start + 1])}
        task.validation_step(batch | {"truths": drawn[start : start + 2]}, start // 2)
    assert task.metrics["watch"].totals[:, 1].tolist() == [3 * 32] * 2


def test_testing_takes_the_thresholds_of_the_benchmark():
    task = BoundaryTask(network="dla46_cida")
    assert [len(task.metrics[name].thresholds) for name in ("watch", "test")] == [9, 99]
    assert task.metrics["test"].max_dist == 0.0075


def test_a_run_with_a_sampled_annotator_goes_on_bit_for_bit(tmp_path):
    # The constant schedule does not know how long a run is meant to be.
    options = {"--data.merge": "sample", "--data.train_images": "8", "--model.schedule": "constant"}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert fit(whole, **options, **{"--trainer.max_epochs": "3"}) == 0
    assert fit(cut, **options, **{"--trainer.max_epochs": "2"}) == 0
    goes_on = f"--ckpt_path={cut / 'checkpoints' / 'last.ckpt'}"
    assert fit(cut, goes_on, **options, **{"--trainer.max_epochs": "3"}) == 0
    states = [last(root)["state_dict"] for root in (cut, whole)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 3}, "boundaries need 2 classes, background and boundary, not 3"),
        ({"network": "dla34"}, "dla34 gives no class to each pixel; dla34up does"),
        ({"edge_weight": -1.0}, "edge_weight is -1.0; expected a number above 0, or null"),
        ({"side_weight": -1.0}, "side_weight is -1.0 and watch 12; expected a weight of at least 0"),
        ({"watch": 0}, "side_weight is 0.0 and watch 0; expected a weight of at least 0 and at least 1 image"),
    ],
)
def test_options_that_make_no_sense_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        BoundaryTask(**{"network": "dla46_cida", **options})


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.timeout(900)  # which it compiles, several times
def test_a_compiled_network_with_side_outputs_learns_the_same(tmp_path):
    """To rounding, which norms over a few numbers multiply; that there is a difference shows that it compiled."""
    weights = []
    for name in ("true", "false"):
        changes = {"--model.compile": name, "--model.lr": "1e-6", "--trainer.max_epochs": "1"}
        subprocess.run([*DLA, *words(TINY, tmp_path / name, **changes)], check=True)
        weights.append(flat(last(tmp_path / name)["state_dict"]))
    assert 0 < float((weights[0] - weights[1]).norm() / weights[1].norm()) < 1e-2


def test_a_network_that_gives_no_numbers_has_diverged(tmp_path):
    """As after one step that was too long, whose loss was a number still."""
    task = BoundaryTask(network="dla46_cida", num_classes=2)
    with pytest.raises(ValueError, match=r"gives no numbers after epoch 1, training has diverged: lower --model.lr"):
        task._match("watch", torch.full((1, 2, 8, 8), torch.nan), [torch.zeros(1, 8, 8, dtype=torch.uint8)])
