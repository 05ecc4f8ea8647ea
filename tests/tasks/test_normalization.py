"""Images are normalised as the weights expect that a run starts from, and as its checkpoints say ever after."""

from functools import partial

import pytest
import timm
import torch
from fit_command import fit_with
from lightning import LightningDataModule
from run_files import last

from dla.cli import main
from dla.data import CIFARData, DigitsData, ScenesData
from dla.predict import load_predictor
from dla.tasks import ClassificationTask, SegmentationTask
from dla.tasks.normalization import adopt, of_network
from dla.weights import packaged
from dla.weights.checkpoint import read_checkpoint

OWN = [0.485, 0.456, 0.406]
TINY = {
    "--model": "SegmentationTask",
    "--model.network": "test_resnet+ida",  # whose weights are made for the mean 0.5
    "--model.options": "{out_channels: 8, out_stride: 8}",
    "--data": "ScenesData",
    "--data.size": "64",
    "--data.train_images": "6",
    "--data.val_images": "3",
    "--data.batch_size": "3",
    "--trainer.accelerator": "cpu",
    "--trainer.enable_progress_bar": "false",
    "--trainer.max_epochs": "1",
}
fit = partial(fit_with, TINY)


def facts(root):
    return last(root)["dla"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "test_resnet.pth"
    torch.save(timm.create_model("test_resnet").state_dict(), path)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory, weights):
    root = tmp_path_factory.mktemp("run")
    assert fit(root, f"--model.weights={weights}") == 0
    return root


def test_weights_of_a_backbone_say_how(run, tmp_path, capsys):
    assert facts(run)["mean"] == facts(run)["std"] == [0.5] * 3
    assert load_predictor(run / "checkpoints" / "last.ckpt").mean == (0.5, 0.5, 0.5)
    assert fit(tmp_path) == 0  # from scratch
    assert facts(tmp_path)["mean"] == OWN
    assert "normalised" not in capsys.readouterr().out


def test_a_run_that_goes_on_or_is_measured_stays_with_it(run, weights, capsys):
    config = f"--config={run}/config.yaml"
    score = read_checkpoint(run / "checkpoints" / "best.ckpt")["callbacks"]
    expected = next(float(v["best_model_score"]) for k, v in score.items() if "val/miou" in k)
    assert main(["validate", config, "--ckpt_path=best"]) == 0
    assert f"{100 * expected:.2f}" in capsys.readouterr().out
    assert main(["fit", config, "--ckpt_path=last", "--trainer.max_epochs=2"]) == 0
    assert facts(run)["mean"] == [0.5] * 3


def test_another_run_that_starts_from_its_checkpoint_follows(run, tmp_path, capsys):
    assert fit(tmp_path, f"--model.weights={run}/checkpoints/last.ckpt") == 0
    assert facts(tmp_path)["mean"] == [0.5] * 3
    assert "normalised as these weights expect, by the mean (0.5, 0.5, 0.5) and std" in capsys.readouterr().out


def test_batches_are_normalised_so():
    data = ScenesData(size=32, train_images=2, val_images=2)
    data.setup("fit")
    batch = next(iter(data.val_dataloader()))
    raw = batch["image"].float() / 255
    data.normalize_as((0.5, 0.4, 0.3), (0.1, 0.2, 0.4))
    mean, std = torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1), torch.tensor([0.1, 0.2, 0.4]).view(3, 1, 1)
    torch.testing.assert_close(data.on_after_batch_transfer(batch, 0)["image"], (raw - mean) / std)
    assert ScenesData.mean == tuple(OWN)  # of other modules of its kind nothing changed


@pytest.mark.parametrize("data", [None, LightningDataModule()])
def test_data_of_somebody_else_normalises_as_it_will(data):
    adopt(data, ((0.5,) * 3, (0.2,) * 3))
    assert not hasattr(data, "mean")


def test_a_network_that_does_not_say_how_leaves_it_to_the_data():
    assert of_network(torch.nn.Identity()) is None


def test_weights_of_the_package_say_how():
    task = ClassificationTask(network="dla46_c.cifar10", num_classes=10)
    cfg = packaged()["dla46_c.cifar10"].cfg
    assert task.normalization == (tuple(cfg["mean"]), tuple(cfg["std"])) == (CIFARData.mean, CIFARData.std)
    assert task.normalization[0] != DigitsData.mean
    assert SegmentationTask(network="dla46_cida", num_classes=3).normalization is None


@pytest.mark.parametrize("options", [{}, {"rewire": "ida"}])
def test_weights_of_a_timm_classifier_say_how(weights, options):
    task = ClassificationTask(
        network="timm/test_resnet", num_classes=3, options=options, weights=str(weights), new_head=True
    )
    assert task.normalization == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert ClassificationTask(network="timm/test_resnet", num_classes=3).normalization is None
