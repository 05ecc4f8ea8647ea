"""The stopwatch in a real run: what it writes of the machine, and that it checks classes and size."""

import json

import pytest
from lightning import Trainer

from dla.compare.stopwatch import Stopwatch
from dla.data import DigitsData
from dla.tasks import ClassificationTask

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*LeafSpec:FutureWarning")


def fit(tmp_path, stopwatch):
    trainer = Trainer(
        max_epochs=1,
        limit_train_batches=3,
        limit_val_batches=2,
        accelerator="cpu",
        callbacks=[stopwatch],
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(ClassificationTask(network="dla46_c", num_classes=10), DigitsData(size=16, batch_size=8))
    return trainer


def test_images_are_those_that_are_seen(tmp_path):
    trainer = fit(tmp_path, Stopwatch(classes=10, image_size=16))
    machine = json.loads((tmp_path / "machine.json").read_text())
    val = trainer.datamodule.val_dataloader()
    assert (machine["train_images"], machine["val_images"]) == (24, min(359, 2 * val.batch_size))
    assert trainer.callback_metrics["time/images_per_second"] > 0


def test_data_of_other_classes_or_another_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the study says classes: 100, and its data has 10: mend the study"):
        fit(tmp_path, Stopwatch(classes=100, image_size=16))
    with pytest.raises(ValueError, match="the study says image_size: 224, and its data has 16: mend the study"):
        fit(tmp_path, Stopwatch(classes=10, image_size=224))
