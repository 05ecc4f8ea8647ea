"""The stopwatch in a real run: what it writes of the machine, and that it checks classes and size."""

import json

import pytest
import torch
from lightning import Trainer

from dla.compare.stopwatch import Stopwatch
from dla.data import DigitsData
from dla.machine import now
from dla.tasks import ClassificationTask

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*LeafSpec:FutureWarning")


def fit(tmp_path, stopwatch, max_epochs=1, ckpt_path=None, **options):
    trainer = Trainer(
        max_epochs=max_epochs,
        limit_train_batches=3,
        limit_val_batches=2,
        accelerator="cpu",
        callbacks=[stopwatch],
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    task, data = ClassificationTask(network="dla46_c", num_classes=10), DigitsData(size=16, batch_size=8)
    trainer.fit(task, data, ckpt_path=ckpt_path)
    return trainer


def machines(tmp_path):
    return json.loads((tmp_path / "machines.json").read_text())


def test_the_clock_waits_for_an_apple_gpu(monkeypatch):
    asked = []
    monkeypatch.setattr("torch.mps.synchronize", lambda: asked.append("mps"))
    begun = now(torch.device("cpu"))
    assert asked == []
    assert now(torch.device("mps")) >= begun
    assert asked == ["mps"]


def test_images_are_those_that_are_seen(tmp_path):
    trainer = fit(tmp_path, Stopwatch(classes=10, image_size=16))
    (machine,) = machines(tmp_path)
    val = trainer.datamodule.val_dataloader()
    assert (machine["train_images"], machine["val_images"]) == (24, min(359, 2 * val.batch_size))
    assert trainer.callback_metrics["time/images_per_second"] > 0


def test_validation_is_no_part_of_the_time_of_training(tmp_path, monkeypatch):
    """Of 11 seconds it takes 7; in the others 24 images train."""
    times = iter([100.0, 103.0, 110.0, 111.0])
    monkeypatch.setattr("dla.compare.stopwatch.now", lambda _: next(times))
    logged = fit(tmp_path, Stopwatch(classes=10, image_size=16), num_sanity_val_steps=0).callback_metrics
    assert (float(logged["time/seconds"]), float(logged["time/images_per_second"])) == (11, 6)


def test_images_are_known_before_anything_is_measured(tmp_path):
    fit(tmp_path, Stopwatch(classes=10, image_size=16), num_sanity_val_steps=0)
    assert machines(tmp_path)[0]["val_images"] == 359


def test_a_run_that_went_on_elsewhere_says_both_machines(tmp_path, monkeypatch):
    checkpoint, stopwatch = tmp_path / "last.ckpt", Stopwatch(classes=10, image_size=16)
    fit(tmp_path, stopwatch).save_checkpoint(checkpoint)
    fit(tmp_path, stopwatch, max_epochs=2, ckpt_path=checkpoint)
    assert len(machines(tmp_path)) == 1
    monkeypatch.setattr("dla.compare.stopwatch.device_name", lambda _: "Abacus")
    fit(tmp_path, stopwatch, max_epochs=2, ckpt_path=checkpoint)
    first, second = machines(tmp_path)
    assert first["device"] != second["device"] == "Abacus"
    fit(tmp_path, stopwatch)
    assert len(machines(tmp_path)) == 1  # begun anew


def test_data_of_other_classes_or_another_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the study says classes: 100, and its data has 10: mend the study"):
        fit(tmp_path, Stopwatch(classes=100, image_size=16))
    with pytest.raises(ValueError, match="the study says image_size: 224, and its data has 16: mend the study"):
        fit(tmp_path, Stopwatch(classes=10, image_size=224))
