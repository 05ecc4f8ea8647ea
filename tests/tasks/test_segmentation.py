"""The segmentation task: its loss, its metrics, and that a resumed run is the run that was not stopped."""

import re
import shutil
import subprocess
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from as_one import flat
from fit_command import DLA, KilledError, fit_with, words
from lightning import LightningDataModule, Trainer
from PIL import Image
from run_files import last, logged, read_rows

import dla
from dla.data import Scenes
from dla.predict import load_predictor
from dla.tasks import SegmentationTask
from dla.tasks.run import AtomicCheckpointIO
from dla.tasks.segmentation import pixel_loss
from dla.weights.checkpoint import read_checkpoint

TINY = {
    "--model": "SegmentationTask",
    "--model.network": "dla46_cida",
    "--model.lr": "0.02",
    "--data": "ScenesData",
    "--data.size": "32",
    "--data.train_images": "12",
    "--data.val_images": "5",
    "--data.batch_size": "4",
    "--trainer.accelerator": "cpu",
    "--trainer.enable_progress_bar": "false",
    "--trainer.enable_model_summary": "false",
}
fit = partial(fit_with, TINY)
EMA = '{"class_path": "EMAWeightAveraging", "init_args": {"decay": 0.9}}'


def assert_same(a, b, path="checkpoint"):
    assert type(a) is type(b), path
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a:
            assert_same(a[key], b[key], f"{path}[{key}]")
    elif isinstance(a, list | tuple):
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{path}[{i}]")
    else:
        assert a == b, path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of four epochs, long enough to tell more than one class."""
    root = tmp_path_factory.mktemp("run")
    options = {"--trainer.max_epochs": "4", "--data.train_images": "48", "--model.lr": "0.003"}
    assert fit(root, "--model.optimizer=adamw", **options) == 0
    return root


def test_a_run_leaves_its_configuration_metrics_and_checkpoints(run):
    names = {str(p.relative_to(run)) for p in run.rglob("*") if p.is_file() and "tensorboard" not in str(p)}
    assert names == {
        ".lock",
        "config.yaml",
        "examples.png",
        "training.png",
        "val_images.csv",
        "val_worst.png",
        "metrics/version_0/metrics.csv",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
    }
    assert list(run.glob("tensorboard/version_0/events*"))
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["init_args"]["network"] == "dla46_cida"
    assert config["trainer"]["max_epochs"] == 4
    rows = read_rows(run / "metrics/version_0/metrics.csv")
    assert {row["epoch"] for row in rows} == {"0", "1", "2", "3"}
    assert {"train/loss", "train/lr", "val/miou", "val/accuracy", "val/iou/ground"} <= rows[0].keys()


def test_the_checkpoint_predicts_without_lightning(run):
    predictor = load_predictor(run / "checkpoints" / "best.ckpt")
    assert predictor.classes[0] == "ground"
    assert predictor.model(torch.zeros(1, 3, 33, 21)).shape == (1, len(predictor.classes), 33, 21)


def test_fit_measures_the_image_as_it_is(tmp_path):
    rows = []
    for number, extra in enumerate(((), ("--model.test_scales=[0.5,1]", "--model.test_flip=true"))):
        assert fit(tmp_path / str(number), *extra, **{"--trainer.max_epochs": "1"}) == 0
        rows.append((tmp_path / str(number) / "metrics/version_0/metrics.csv").read_text())
    assert rows[0] == rows[1]


def test_balanced_classes_train_as_with_the_weights_that_are_counted(tmp_path, capsys):
    scenes = Scenes(12, size=32)
    pixels = np.bincount(np.stack([scenes[i].mask for i in range(12)]).ravel(), minlength=256)[:6]
    weights = np.sqrt(np.sort(pixels)[3] / pixels)
    losses = {}
    for name, chosen in (("balanced", "balanced"), ("given", str(weights.tolist())), ("equal", "null")):
        options = {"--model.class_weights": chosen, "--trainer.max_epochs": "1", "--trainer.precision": "64"}
        assert fit(tmp_path / name, **options) == 0
        losses[name] = logged(tmp_path / name, "train/loss")
    assert losses["balanced"] == pytest.approx(losses["given"], rel=1e-6)
    assert losses["balanced"] != pytest.approx(losses["equal"], rel=1e-4)
    rarest = scenes.classes[weights.argmax()]
    assert f"the rarer they are, from {weights.min():.2g} (" in (out := capsys.readouterr().out)
    assert f" to {weights.max():.2g} ({rarest})" in out


def test_only_data_whose_pixels_can_be_counted_trains_balanced(tmp_path):
    class Elsewhere(LightningDataModule):
        classes, mean, std = ("a", "b"), (0.5,) * 3, (0.5,) * 3

    task = SegmentationTask(network="dla46_cida", num_classes=2, class_weights="balanced")
    task.trainer = Trainer(accelerator="cpu", logger=False, default_root_dir=tmp_path)
    task.trainer.datamodule = Elsewhere()
    with pytest.raises(ValueError, match="Elsewhere is no SegmentationData, whose pixels can be counted: give a wei"):
        task.setup("fit")
    task.setup("validate")  # no loss, and so nothing to weigh
    task.setup("test")


def test_any_backbone_by_name_trains_and_predicts(tmp_path):
    network = "--model.network=test_efficientnet+fpn"
    options = ("--model.options={out_channels: 8, out_stride: 4}", "--trainer.max_epochs=1")
    assert fit(tmp_path, network, *options) == 0
    assert last(tmp_path)["dla"]["model"] == "test_efficientnet+fpn"
    predictor = load_predictor(tmp_path / "checkpoints" / "last.ckpt")
    assert predictor.model.decoder.out_channels == 8
    assert predictor.model(torch.zeros(1, 3, 33, 40)).shape == (1, len(predictor.classes), 33, 40)


@pytest.mark.slow
def test_validate_and_test_measure_with_scales_flips_and_windows(run, capsys):
    best = f"--ckpt_path={run / 'checkpoints' / 'best.ckpt'}"
    options = ("--model.test_scales=[0.5,1]", "--model.test_flip=true", "--model.window=24")
    for command in ("validate", "test"):
        accuracies = set()
        for chosen in ((), *([option] for option in options)):
            assert fit(run, *chosen, best, command=command) == 0
            accuracies.add(re.search(r"pixel accuracy\W+([\d.]+)", capsys.readouterr().out)[1])
        assert len(accuracies) == 4, command  # each option changes the result


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param((), id="plain"),
        pytest.param(
            (
                "--data.augment=sample",
                "--data.workers=1",
                "--data.rotate=10",
                "--data.scale=[0.5,2]",
                "--data.color=0.3",
            ),
            id="workers",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            (f"--trainer.callbacks+={EMA}", "--model.drop_path_rate=0.3", "--trainer.accumulate_grad_batches=2"),
            id="average",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("--trainer.precision=bf16-mixed", "--model.optimizer=adamw", "--model.grad_checkpointing=true"),
            id="bfloat16",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_killed_run_goes_on_to_the_same_weights_bit_for_bit(tmp_path, extra):
    options = {"--trainer.max_epochs": "4", "--data.train_images": "8"}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert fit(whole, *extra, **options) == 0
    with pytest.raises(KilledError):
        fit(killed, *extra, "--trainer.callbacks+=fit_command.Kill", **options)
    assert last(killed)["epoch"] == 1
    checkpoint = killed / "checkpoints" / "last.ckpt"
    assert fit(killed, *extra, f"--ckpt_path={checkpoint}", **options) == 0
    a, b = last(whole), last(killed)
    for key in ("state_dict", "optimizer_states", "epoch", "global_step", "dla"):
        assert_same(a[key], b[key], key)
    assert yaml.safe_load((killed / "config.yaml").read_text())["ckpt_path"] is None  # a recipe, not a resume point
    assert (killed / "metrics/version_0/metrics.csv").exists()
    assert (killed / "metrics/version_1/metrics.csv").exists()


def test_a_folder_with_a_run_is_not_overwritten(run, capsys):
    before = (run / "checkpoints/last.ckpt").read_bytes()
    assert fit(run) == 1
    assert "already holds a run" in capsys.readouterr().err
    assert (run / "checkpoints/last.ckpt").read_bytes() == before


def test_a_truncated_checkpoint_is_refused(run, tmp_path, capsys):
    broken = tmp_path / "broken.ckpt"
    broken.write_bytes((run / "checkpoints/last.ckpt").read_bytes()[:-1000])
    assert fit(tmp_path / "new", f"--ckpt_path={broken}") == 1
    assert f"{broken} is cut short" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--model.network=dla99", "unknown model 'dla99'"),
        ("--model.class_weights=[1.0]", "class_weights must name 6 weights"),
        ("--model.weights=/nowhere.safetensors", "/nowhere.safetensors cannot be read"),
        ("--data.batch_size=64", "batch_size 64 exceeds the 12 training samples"),
        ("--trainer.max_epochs=-1", "give --trainer.max_epochs"),
        ("--model.network=dla46_c", "dla46_c gives no class to each pixel; dla46_cup does"),
        ("--model.network=dla46_c.cifar10", "dla46_c.cifar10 gives no class to each pixel; dla46_cup does"),
        ("--model.network=timm/test_resnet", "timm/test_resnet gives no class to each pixel; test_resnet+ida does"),
        ("--model.network=torchvision/squeezenet1_1", "squeezenet1_1 gives no class to each pixel; dla34up does"),
        ("--model.test_scales=[-1]", "scales must be one or more positive numbers, not [-1"),
        ("--model.window=0", "window must be at least 1 pixel, not 0"),
    ],
)
def test_bad_options_end_in_one_line(tmp_path, capsys, option, message):
    assert fit(tmp_path, "--trainer.max_epochs=1", option) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("dla fit:")]
    assert message in line
    assert "Namespace" not in line


def test_untrained_weights_are_not_measured(tmp_path, capsys):
    assert fit(tmp_path, command="validate") == 1
    assert "give --ckpt_path or --model.weights" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("network", "lacks"),
    [("dla46_cida", "decoder and head"), ("dla46_c.cifar10+ida", "ida and the head")],
)
def test_what_is_half_trained_is_not_measured(tmp_path, capsys, network, lacks):
    weights = tmp_path / "classifier.pth"
    torch.save(dla.create_model("dla46_c").state_dict(), weights)
    options = [] if "." in network else [f"--model.weights={weights}"]
    assert fit(tmp_path, f"--model.network={network}", *options, command="validate") == 1
    assert f"where no weights are given for {lacks}" in capsys.readouterr().err


def test_a_network_has_one_kind_of_weights():
    with pytest.raises(ValueError, match=r"--model.network dla46_cup or --model.weights null"):
        SegmentationTask(network="dla46_cup.camvid", num_classes=11, weights="timm/dla46_c.in1k")


def test_a_dry_run_leaves_nothing(tmp_path):
    assert fit(tmp_path / "dry", "--trainer.fast_dev_run=true") == 0
    assert not (tmp_path / "dry" / "checkpoints").exists()


def test_a_checkpoint_that_cannot_be_finished_leaves_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, path)
    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", lambda value, file: (Path(file).write_bytes(b"half"), 1 / 0))
        with pytest.raises(ZeroDivisionError):
            AtomicCheckpointIO().save_checkpoint({"epoch": 2}, path)
    assert read_checkpoint(path) == {"epoch": 1}
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]


def test_a_network_trains_on_from_another_runs_weights(run, tmp_path):
    task = SegmentationTask(network="dla46_cida", num_classes=6, weights=str(run / "checkpoints/last.ckpt"))
    state = last(run)["state_dict"]
    assert all(torch.equal(value, state[f"model.{key}"]) for key, value in task.model.state_dict().items())


def test_a_network_trains_on_for_other_classes(run):
    options = {"network": "dla46_cida", "num_classes": 3, "weights": str(run / "checkpoints/last.ckpt")}
    task = SegmentationTask(**options, new_head=True)
    state = last(run)["state_dict"]
    same = {key for key, value in task.model.state_dict().items() if torch.equal(value, state[f"model.{key}"])}
    assert same == {key for key in task.model.state_dict() if not key.startswith("head.")}
    assert "2 left as built because a new head was asked for: head.classify.weight" in task.origin
    with pytest.raises(ValueError, match="for other classes, give new_head=True"):
        SegmentationTask(**options)


@pytest.mark.parametrize(("classes", "said"), [(11, ""), (3, "; the head, of 3 classes, is new")])
def test_it_says_which_weights_it_starts_from(classes, said):
    task = SegmentationTask(network="dla46_cup.camvid", num_classes=classes)
    assert task.origin == "starts from the weights that dla46_cup.camvid names" + said
    assert not SegmentationTask(network="dla46_cida", num_classes=classes).origin


def test_it_learns(tmp_path):
    """Twelve scenes are learnt by heart."""
    assert fit(tmp_path, **{"--trainer.max_epochs": "12", "--model.lr": "0.05", "--data.flip": "false"}) == 0
    losses = logged(tmp_path, "train/loss")
    assert losses[-1] < 0.7 * losses[0]


def test_loss_is_the_weighted_mean_over_pixels_that_count():
    logits, mask = torch.randn(2, 3, 4, 5), torch.randint(3, (2, 4, 5))
    mask[0, :2] = 255
    weight = torch.tensor([1.0, 2.0, 0.5])
    expected = torch.nn.functional.cross_entropy(logits, mask, weight, ignore_index=255)
    torch.testing.assert_close(pixel_loss(logits, mask, weight), expected)
    torch.testing.assert_close(pixel_loss(logits, mask, weight.double()), expected)  # as in 64-true
    torch.testing.assert_close(
        pixel_loss(logits, mask, None), torch.nn.functional.cross_entropy(logits, mask, ignore_index=255)
    )


def test_a_batch_in_which_nothing_counts_has_loss_zero_and_no_nan():
    logits = torch.randn(1, 3, 4, 5, requires_grad=True)
    loss = pixel_loss(logits, torch.full((1, 4, 5), 255), None)
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


def test_weights_per_class_must_be_as_many():
    with pytest.raises(ValueError, match="3 weights, one per class, not 2"):
        SegmentationTask(network="dla46_cida", num_classes=3, class_weights=[1.0, 2.0])


def command(root: Path, *extra: str, word: str = "fit") -> list[str]:
    return [*DLA, *words(TINY, root, *extra, command=word, **{"--data.train_images": "8"})]


def measured(root: Path, *extra: str) -> list[str]:
    """What `validate` prints of the run's last checkpoint: every number of its table."""
    arguments = command(root, f"--ckpt_path={root}/checkpoints/last.ckpt", *extra, word="validate")
    out = subprocess.run(arguments, check=True, timeout=200, capture_output=True, text=True).stdout
    return re.findall(r"\d+\.\d\d|nan", out)


def test_training_images_are_drawn_before_they_are_trained_on(tmp_path, capsys):
    """Also where nothing is measured; not where a run is a trial of each of its parts."""
    assert fit(tmp_path / "trial", "--trainer.fast_dev_run=true") == 0
    assert not (tmp_path / "trial").exists()
    options = {"--trainer.limit_val_batches": "0", "--trainer.max_epochs": "1", "--data.train_images": "8"}
    assert fit(tmp_path / "run", **options) == 0
    printed = capsys.readouterr().out
    path = tmp_path / "run" / "training.png"
    assert f"some training images, augmented, and their truth: {path}" in printed
    assert printed.index("training.png") < printed.index("nothing was measured")


@pytest.mark.slow
def test_two_processes_train_together(tmp_path):
    arguments = ("--trainer.strategy=ddp", "--trainer.devices=2", "--trainer.max_epochs=2", "--data.batch_size=2")
    subprocess.run(command(tmp_path, *arguments), check=True, timeout=200)
    checkpoint = last(tmp_path)
    assert checkpoint["epoch"] == 1
    assert checkpoint["global_step"] == 4  # 8 images in 2 processes, by 2
    alone, images = measured(tmp_path), (tmp_path / "val_images.csv").read_text()
    assert measured(tmp_path, *arguments[:2]) == alone  # 5 images for 2 processes: none is counted twice
    assert (tmp_path / "val_images.csv").read_text() == images
    assert len(images.splitlines()) == 1 + 5
    assert len(alone) == 8
    with Image.open(tmp_path / "examples.png") as picture:
        assert picture.height > 3 * 192  # four images, of which each process measured some
    assert (tmp_path / "training.png").exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_network_learns_the_same(tmp_path):
    """To rounding, which norms over a few numbers multiply; that there is a difference shows that it compiled."""
    for name in ("true", "false"):
        options = (f"--model.compile={name}", "--model.lr=1e-6", "--trainer.max_epochs=1")
        subprocess.run(command(tmp_path / name, *options), check=True)
    compiled, plain = (flat(last(tmp_path / name)["state_dict"]) for name in ("true", "false"))
    assert 0 < float((compiled - plain).norm() / plain.norm()) < 1e-2


@pytest.mark.slow
def test_a_process_killed_by_the_system_goes_on_to_the_same_weights(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(whole, "--trainer.max_epochs=30"), check=True, timeout=200)
    process = subprocess.Popen(command(killed, "--trainer.max_epochs=30"))
    checkpoint = killed / "checkpoints/last.ckpt"
    while not checkpoint.exists():
        assert process.poll() is None
        time.sleep(0.1)
    time.sleep(1)
    process.kill()
    process.wait()
    assert last(killed)["epoch"] < 29
    subprocess.run(command(killed, "--trainer.max_epochs=30", f"--ckpt_path={checkpoint}"), check=True, timeout=200)
    assert_same(last(whole)["state_dict"], last(killed)["state_dict"])
