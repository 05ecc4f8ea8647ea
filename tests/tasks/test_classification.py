"""The classification task: its loss, its metrics, what it shows, and that a resumed run is the one not stopped."""

import re
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from fit_command import DLA, Kill, KilledError, fit_with, words
from lightning import Trainer
from PIL import Image
from run_files import last, logged, read_rows
from torchvision.ops import StochasticDepth

import dla
from dla.cli import main
from dla.predict import load_predictor
from dla.tasks import ClassificationTask
from dla.tasks.class_showcase import class_rows, draw_confusion, guesses, sheet, write_classes
from dla.tasks.classification import class_accuracy
from dla.tasks.hardest import Hard

TINY = {
    "--model": "ClassificationTask",
    "--model.network": "dla46_c",
    "--model.options": "{stem_stride: 1}",
    "--model.optimizer": "adamw",
    "--model.lr": "0.003",
    "--data": "DigitsData",
    "--data.size": "8",
    "--data.pad": "1",
    "--trainer.accelerator": "cpu",
    "--trainer.enable_progress_bar": "false",
}
fit = partial(fit_with, TINY)
SHORT = {
    "--data.batch_size": "8",
    "--data.val_batch_size": "8",
    "--trainer.max_epochs": "3",
    "--trainer.limit_train_batches": "2",  # not 1, which may be read as 1.0, all of them
    "--trainer.limit_val_batches": "2",
}
MODERN = (  # what recipes/classification/imagenet_dla60_modern.yaml is made of
    '--trainer.callbacks+={"class_path": "EMAWeightAveraging", "init_args": {"decay": 0.9}}',
    "--model.optimizer=lamb",
    "--model.batch_base=64",
    "--model.decay_norms=false",
    "--model.schedule=cosine",
    "--model.loss=bce",
    "--model.bce_threshold=0.2",
    "--model.mixup=0.1",
    "--model.cutmix=1",
    "--model.drop_path_rate=0.05",
)
RECIPE = Path(__file__).parents[2] / "recipes" / "classification" / "digits.yaml"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of 90 steps, on digits at their own size."""
    root = tmp_path_factory.mktemp("run")
    assert fit(root, "--trainer.max_epochs=3", "--trainer.limit_train_batches=30") == 0
    return root


def test_it_learns(run):
    accuracies = logged(run, "val/accuracy")
    assert accuracies[-1] > 0.3  # by chance 0.1
    assert accuracies[-1] > accuracies[0]


def test_a_run_leaves_its_metrics_and_pictures(run):
    logged = read_rows(run / "metrics/version_0/metrics.csv")[-2:]
    values = {key: float(value) for row in logged for key, value in row.items() if value}
    assert {"train/loss", "val/loss", "val/accuracy", "val/top5", "val/class_accuracy"} <= values.keys()
    assert values["val/accuracy"] < values["val/top5"] <= 1
    classes = read_rows(run / "val_classes.csv")
    hits, images = (sum(int(row[key]) for row in classes) for key in ("hits", "images"))
    assert images == 359
    assert hits / images == pytest.approx(values["val/accuracy"])
    assert np.mean([float(row["accuracy"]) for row in classes]) == pytest.approx(values["val/class_accuracy"], abs=1e-4)
    for name in ("val_confusion.png", "val_worst.png", "training.png"):
        with Image.open(run / name) as picture:
            assert len(np.unique(np.asarray(picture))) > 50
    assert not (run / "examples.png").exists()


def test_the_checkpoint_predicts_without_lightning(run):
    checkpoint = last(run)
    facts = checkpoint["dla"]
    assert {key: facts[key] for key in ("task", "model", "options", "num_classes", "resize", "crop")} == {
        "task": "classification",
        "model": "dla46_c",
        "options": {"stem_stride": 1},
        "num_classes": 10,
        "resize": 8,
        "crop": 8,
    }
    assert facts["classes"] == [str(digit) for digit in range(10)]
    model = dla.create_model(facts["model"], num_classes=facts["num_classes"], **facts["options"])
    dla.load_weights(model, checkpoint)
    from dla.data.classification.digits import read_digits

    val = read_digits("val", size=8)
    with torch.no_grad():
        images = (val.images / 255 - torch.tensor(facts["mean"]).view(3, 1, 1)) / torch.tensor(facts["std"]).view(
            3, 1, 1
        )
        accuracy = (model.eval()(images).argmax(1) == val.labels).float().mean()
    assert accuracy == pytest.approx(logged(run, "val/accuracy")[-1], abs=1e-3)


def test_validate_measures_and_draws(run, tmp_path, capsys):
    checkpoint = f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}"
    assert fit(tmp_path, checkpoint, command="validate") == 0
    printed = re.search(r"accuracy +│ +([\d.]+)", capsys.readouterr().out)[1]
    hits = sum(int(row["hits"]) for row in read_rows(tmp_path / "val_classes.csv"))
    assert float(printed) == pytest.approx(100 * hits / 359, abs=0.005)
    assert (tmp_path / "val_classes.csv").read_text() == (run / "val_classes.csv").read_text()
    assert (tmp_path / "val_worst.png").exists()
    assert fit(tmp_path, checkpoint, command="test") == 1
    assert "dla test: the digits have no test split; measure on val" in capsys.readouterr().err


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param((), id="plain"),
        pytest.param(
            ("--model.mixup=0.4", "--model.cutmix=1", "--model.label_smoothing=0.1", "--model.drop_path_rate=0.3"),
            id="mixed",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("--trainer.precision=bf16-mixed", "--model.cutmix=0.5", "--data.workers=1", "--model.optimizer=sgd"),
            id="workers",
            marks=pytest.mark.slow,
        ),
        pytest.param((*MODERN, "--trainer.accumulate_grad_batches=2"), id="modern", marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore:.*worker processes in total")  # on a machine with one core
def test_a_resumed_run_is_the_run_that_was_not_stopped(tmp_path, monkeypatch, extra):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert fit(whole, *extra, **SHORT) == 0
    with monkeypatch.context() as patched:
        patched.setattr(ClassificationTask, "configure_callbacks", lambda self: Kill())
        with pytest.raises(KilledError):
            fit(killed, *extra, **SHORT)
    assert last(killed)["epoch"] == 1
    assert fit(killed, *extra, f"--ckpt_path={killed}/checkpoints/last.ckpt", **SHORT) == 0
    a, b = last(whole), last(killed)
    assert a["dla"] == b["dla"]
    for key, value in a["state_dict"].items():
        assert torch.equal(value, b["state_dict"][key]), key
    momenta = zip(a["optimizer_states"][0]["state"].values(), b["optimizer_states"][0]["state"].values(), strict=True)
    assert all(torch.equal(x[key], y[key]) for x, y in momenta for key in x if isinstance(x[key], torch.Tensor))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--model.network=dla46_cup", "dla46_cup gives a class to each pixel; name a classifier, such as dla34"),
        ("--model.network=torchvision/fcn_resnet50", "gives (359, 10, 8, 8) where logits (359, 10) were expected"),
        ("--model.options.features_only=true", "gives a list where logits (359, 10) were expected: name a"),
        ("--model.label_smoothing=1", "label_smoothing is 1.0"),
        ("--model.mixup=-1", "mixup -1.0"),
        ("--model.bce_threshold=0.2", "bce_threshold is 0.2, but the loss is cross_entropy"),
        ("--model.batch_base=0", "batch_base is 0; expected a number of images"),
        ("--model.warmup=-2", "warmup is -2; expected a number of epochs"),
        ("--model.schedule=step", "the step schedule needs the epochs at which the rate falls"),
        ("--model.milestones=[3]", "milestones [3]: the step schedule needs the epochs"),
        ("--model.lr=-1", "lr is -1.0; expected a number of at least 0"),
        ("--model.weight_decay=-1", "weight_decay is -1.0; expected"),
        ("--data.pad=8", "pad is 8; expected 0 to 7 pixels"),
        ("--data.batch_size=0", "batch_size is 0; expected a number of at least 1"),
        ("--data.val_batch_size=0", "val_batch_size is 0; expected a number of at least 1"),
        ("--data.workers=-1", "workers is -1; expected a number of at least 0"),
        ("--data.seed=-1", "seed is -1; expected a number of at least 0"),
        ("--data.repeat=0", "repeat is 0; expected a number of at least 1"),
        ("--data.batch_size=2000", "batch_size 2000 exceeds the 1438 training samples"),
    ],
)
def test_bad_options_end_in_one_line(tmp_path, capsys, option, message):
    changes = {"--model.options": "{}"} if "network" in option else {}
    assert fit(tmp_path, "--trainer.max_epochs=1", option, **changes) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("dla fit:")]
    assert message in line


@pytest.mark.parametrize("on", [True, False])
def test_gradient_checkpointing_is_that_of_the_network(on):
    assert ClassificationTask(network="dla46_c", num_classes=3, grad_checkpointing=on).model.grad_checkpointing == on


def test_a_network_of_timm_that_cannot_checkpoint_is_told(tmp_path, capsys):
    assert (
        fit(tmp_path, "--model.network=timm/vgg11", "--model.grad_checkpointing=true", **{"--model.options": "{}"}) == 1
    )
    assert "dla fit: timm/vgg11 cannot checkpoint: leave out grad_checkpointing" in capsys.readouterr().err


def test_ten_crops_are_an_option_of_stored_images_alone(tmp_path, capsys):
    assert fit(tmp_path, "--data.ten_crop=true") == 2
    assert "Option 'ten_crop' is not accepted" in capsys.readouterr().err


def test_the_rate_follows_the_batch(tmp_path, capsys):
    options = (
        "--model.optimizer=sgd",
        "--model.lr=0.1",
        "--model.batch_base=32",
        "--trainer.accumulate_grad_batches=2",
    )
    schedule = ("--model.schedule=step", "--model.milestones=[1]")
    assert fit(tmp_path, *options, *schedule, **SHORT) == 0
    assert "16 images a step over 1 processes: lr 0.1 for 32, so 0.05 at full height" in capsys.readouterr().out
    assert logged(tmp_path, "train/lr") == pytest.approx([0.05, 0.005, 0.005])


@pytest.mark.filterwarnings("ignore:You defined a `validation_step`")
def test_without_a_data_module_the_rate_cannot_follow_the_batch(tmp_path):
    task = ClassificationTask(network="dla46_c", num_classes=3, options={"stem_stride": 1}, batch_base=32)
    batch = {"image": torch.zeros(2, 3, 8, 8), "label": torch.tensor([0, 1])}
    trainer = Trainer(
        default_root_dir=tmp_path, accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False
    )
    with pytest.raises(ValueError, match="batch_base needs a data module that says its batch_size"):
        trainer.fit(task, torch.utils.data.DataLoader([batch], batch_size=None))


def test_ten_crops_have_the_mean_of_their_probabilities(task):
    task.eval()
    crops = torch.randn(2, 10, 3, 11, 9)
    with torch.no_grad():
        expected = torch.stack([task(image).softmax(1).mean(0) for image in crops])
        logits = task.crop_logits(crops)
        torch.testing.assert_close(logits.softmax(1), expected)
        assert torch.equal(task.crop_logits(crops[0]), task(crops[0]))
        task.model.get_classifier().bias[0] = 1e4  # a probability of zero must not become an infinite loss
        assert task.crop_logits(crops).isfinite().all()


def test_a_backbone_with_a_structure_classifies(tmp_path):
    options = {"--model.network": "test_resnet+ida", "--model.options": "{out_channels: 16}"}
    changes = {**SHORT, "--trainer.max_epochs": "1", "--data.size": "32"}
    assert fit(tmp_path, **(changes | options)) == 0
    facts = last(tmp_path)["dla"]
    assert facts["model"] == "test_resnet+ida"
    assert facts["options"] == {"head": "classifier", "out_channels": 16}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda names: names[::-1],
            "has 10 classes and the data 10; class 0 is '9' in the checkpoint and '0' in the data",
        ),
        (
            lambda names: [*names, "ten"],
            "has 11 classes and the data 10; class 10 is 'ten' in the checkpoint and missing in",
        ),
    ],
)
def test_a_checkpoint_of_other_classes_is_refused(run, tmp_path, capsys, change, message):
    checkpoint = last(run)
    checkpoint["dla"]["classes"] = change(checkpoint["dla"]["classes"])
    path = tmp_path / "other.ckpt"
    torch.save(checkpoint, path)
    assert fit(tmp_path / "new", f"--ckpt_path={path}", command="validate") == 1
    assert message in capsys.readouterr().err


def test_recomputing_can_be_switched_off(task):
    assert task.model.memory_efficient is None
    assert not ClassificationTask(network="dla46_c", num_classes=5, memory_efficient=False).model.memory_efficient
    ClassificationTask(network="timm/resnet10t", num_classes=5, memory_efficient=False)


def test_options_win_over_arguments_of_the_same_name(tmp_path):
    options = "{stem_stride: 1, width: 0.25, drop_path_rate: 0.5, memory_efficient: false}"
    changes = {**SHORT, "--trainer.max_epochs": "1"}
    assert fit(tmp_path, **(changes | {"--model.options": options, "--model.drop_path_rate": "0.1"})) == 0
    facts = last(tmp_path)["dla"]
    assert facts["options"]["drop_path_rate"] == 0.5
    model = load_predictor(tmp_path / "checkpoints" / "last.ckpt").model
    assert model.memory_efficient is False
    assert max(part.p for part in model.modules() if isinstance(part, StochasticDepth)) == 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 3}, "options has num_classes: leave it out, since the data says"),
        (
            {"pretrained": True},
            r"options has pretrained: leave it out, since weights are named after a dot, .*dla34\.in1k",
        ),
    ],
)
def test_what_is_no_option_of_a_tasks_network(options, message):
    with pytest.raises(ValueError, match=message):
        ClassificationTask(num_classes=7, options=options)


@pytest.fixture
def task():
    return ClassificationTask(network="dla46_c", num_classes=7, options={"stem_stride": 1})


def test_metrics_are_their_definitions(task):
    logits, labels = torch.randn(60, 7), torch.randint(6, (60,))  # none of the last class
    labels[::9] = -1  # fills up a batch
    for i in range(0, 60, 20):
        task.confusion.update(logits[i : i + 20], labels[i : i + 20])
        task.top5.update(logits[i : i + 20], labels[i : i + 20])
    counted = labels >= 0
    expected = torch.zeros(7, 7, dtype=torch.int64)
    for truth, guess in zip(labels[counted].tolist(), logits.argmax(1)[counted].tolist(), strict=True):
        expected[truth, guess] += 1
    confusion = task.confusion.compute()
    assert torch.equal(confusion, expected)
    found = (logits.topk(5).indices == labels[:, None]).any(1)[counted].float().mean()
    torch.testing.assert_close(task.top5.compute(), found)
    accuracy = class_accuracy(confusion)
    assert accuracy[6].isnan()
    for k in range(6):
        assert accuracy[k] == pytest.approx((logits.argmax(1) == k)[labels == k].float().mean().item())


def test_every_parameter_gets_a_gradient(task):
    torch.nn.functional.cross_entropy(task(torch.randn(4, 3, 19, 23)), torch.randint(7, (4,))).backward()
    assert [name for name, p in task.model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_class_table(tmp_path):
    confusion = torch.tensor([[3, 1, 0], [0, 2, 0], [0, 0, 0]])
    table = class_rows(confusion, ("ant", "bee, wild", "cat"))
    assert table[:2] == [("ant", 4, 3, 0.75), ("bee, wild", 2, 2, 1.0)]
    write_classes(tmp_path / "classes.csv", table)
    assert read_rows(tmp_path / "classes.csv")[1:] == [
        {"class": "bee, wild", "images": "2", "hits": "2", "accuracy": "1.0000"},
        {"class": "cat", "images": "0", "hits": "0", "accuracy": ""},
    ]


@pytest.mark.parametrize("count", [2, 12, 41])
def test_the_confusion_is_drawn_for_few_and_many_classes(tmp_path, count):
    confusion = torch.randint(9, (count, count))
    confusion[0] = 0
    draw_confusion(tmp_path / "confusion.png", confusion, [f"class {i}" for i in range(count)])
    with Image.open(tmp_path / "confusion.png") as picture:
        assert picture.size == (1080, 960)


def test_the_sheet_names_classes_whose_letters_the_font_lacks():
    hard = Hard(loss=2.0, image=0, label=0, prediction=1, probability=0.9)
    captions = [guesses(hard, names) for names in (("Äpfel", "Nüsse"), ("Apfel", "Nusse"))]
    drawn, plain = (np.asarray(sheet([Image.new("RGB", (32, 32))], [caption])) for caption in captions)
    assert np.array_equal(drawn, plain)


def test_sheet():
    images = [Image.new("RGB", (8, 8), (10 * i, 0, 0)) for i in range(8)]
    hardest = [Hard(loss=9.0 - i, image=i, label=0, prediction=i % 2, probability=0.5) for i in range(8)]
    picture = np.asarray(sheet(images, [guesses(hard, ("ant" * 20, "bee")) for hard in hardest]))
    assert picture.shape == (2 * 192, 6 * 164, 3)
    assert picture[5, 5 + 164 * 3].tolist() == [30, 0, 0]
    assert picture[192 + 5, 5].tolist() == [60, 0, 0]
    assert (picture[:, 160:164] == 255).all()  # no caption runs into the next picture


@pytest.mark.slow
def test_two_processes_count_each_image_once(run, tmp_path):
    checkpoint = f"--ckpt_path={run}/checkpoints/last.ckpt"
    two = ("--trainer.strategy=ddp", "--trainer.devices=2", "--data.val_batch_size=50")  # 359 images: one fills up
    for root, extra in ((tmp_path / "one", ()), (tmp_path / "two", two)):
        arguments = words(TINY, root, checkpoint, *extra, command="validate")
        subprocess.run([*DLA, *arguments], check=True, timeout=200)
    for name in ("val_classes.csv", "val_worst.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_recipe_reaches_98_percent(tmp_path):
    assert (
        main(["fit", f"--config={RECIPE}", f"--trainer.default_root_dir={tmp_path}", "--trainer.accelerator=cpu"]) == 0
    )
    assert float(last(tmp_path)["callbacks"][best_key(tmp_path)]["best_model_score"]) >= 0.98


def best_key(root: Path) -> str:
    """The entry of the callback that keeps the best checkpoint."""
    (key,) = [key for key in last(root)["callbacks"] if "val/accuracy" in key]
    return key


def test_what_is_measured_is_said_where_no_file_can_be_written(run, capsys):
    folder = Path("/proc/self")  # nobody can write there, root neither
    assert fit(folder, f"--ckpt_path={run}/checkpoints/best.ckpt", command="validate") == 1
    said = capsys.readouterr()
    assert "mean over classes" in said.out
    assert f"cannot write {folder}/val_classes.csv (" in said.err
    assert "Traceback" not in said.err
