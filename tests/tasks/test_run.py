"""A run's folder and its command line: what is refused leaves all as it was, and what is wrong is one line."""

import errno
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from filelock import FileLock
from image_files import random_image, save_image
from lightning import Trainer
from PIL import Image
from run_files import last

from dla.cli import main
from dla.data import ScenesData
from dla.predict import load_predictor
from dla.tasks import SegmentationTask
from dla.tasks.errors import stopped_with_loaders
from dla.tasks.lock import FolderLock
from dla.tasks.run import AtomicCheckpointIO, MovableCheckpoint
from dla.tasks.unseen import UnseenClasses
from dla.weights.checkpoint import read_checkpoint

SCENES = ["--data=ScenesData", "--data.size=32", "--data.train_images=12", "--data.val_images=5"]
TASK = ["--model=SegmentationTask", "--model.network=dla46_cida"]
TRAINER = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.max_epochs=1"]
RUN = [*TASK, *SCENES, "--data.batch_size=4", "--data.workers=0", *TRAINER]


def contents(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of one epoch, which no test may change."""
    root = tmp_path_factory.mktemp("run")
    assert main(["fit", *RUN, f"--trainer.default_root_dir={root}"]) == 0
    return root


def going_on(run: Path) -> list[str]:
    return ["fit", f"--config={run}/config.yaml", f"--ckpt_path={run}/checkpoints/last.ckpt"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--model.network=dla46_cup"],
            "checkpoint's model is dla46_cida, and this run's dla46_cup: give another --mod",
        ),
        (["--data.classes=3", "--data=BoundaryScenesData", "--model=BoundaryTask"], "Option 'classes' is not accepted"),
        (["--data=DigitsData"], "DigitsData is for classification, and SegmentationTask for segmentation"),
    ],
)
def test_what_is_refused_leaves_the_run_as_it_was(run, options, message, capsys):
    before = contents(run)
    assert main([*going_on(run), "--trainer.max_epochs=2", *options]) in (1, 2)
    assert message in capsys.readouterr().err
    after = contents(run)
    assert {path for path in after if "metrics" not in path.parts and "tensorboard" not in path.parts} <= before.keys()
    assert all(after[path] == content for path, content in before.items())


def test_a_checkpoint_of_another_task_is_refused(run, capsys):
    boundaries = ["--model=BoundaryTask", "--model.network=dla46_cida", "--data=BoundaryScenesData", *SCENES[1:]]
    assert main(["validate", *boundaries, *TRAINER, f"--ckpt_path={run}/checkpoints/last.ckpt"]) == 1
    assert "the checkpoint's task is segmentation, and this run's boundaries" in capsys.readouterr().err


def test_another_run_is_not_written_over(run, tmp_path, capsys):
    other = tmp_path / "other"
    assert main(["fit", *RUN, f"--trainer.default_root_dir={other}", "--seed_everything=1"]) == 0
    before = contents(other)
    options = ["--trainer.max_epochs=2", f"--trainer.default_root_dir={other}"]
    assert main([*going_on(run), *options]) == 1
    said = capsys.readouterr().err
    assert f"{other} already holds a run, another one than {run}/checkpoints/last.ckpt is of. Go on with it by" in said
    assert contents(other) == before


@pytest.mark.filterwarnings("ignore:The dirpath has changed")  # from Lightning: the best so far stays where it is
def test_a_run_goes_on_in_a_folder_of_its_own(run, tmp_path):
    options = ["--trainer.max_epochs=2", f"--trainer.default_root_dir={tmp_path}"]
    assert main([*going_on(run), *options]) == 0
    assert last(tmp_path)["epoch"] == 1


@pytest.mark.parametrize("saved_as", [str, lambda path: "D:" + path.replace("/", "\\")], ids=["here", "windows"])
def test_a_run_that_was_moved_keeps_its_best(saved_as, run, tmp_path):
    moved = shutil.copytree(run, tmp_path / "moved")
    best, last = (moved / "checkpoints" / f"{name}.ckpt" for name in ("best", "last"))
    content = best.read_bytes()
    give_best_score(last, torch.tensor(2.0), saved_as)  # which no epoch reaches
    assert main([*going_on(moved), "--trainer.max_epochs=2", f"--trainer.default_root_dir={moved}"]) == 0
    after = read_checkpoint(last)
    assert after["epoch"] == 1
    assert best.read_bytes() == content
    assert best_state(after)["best_k_models"] == {str(best): 2}


def test_a_run_of_before_its_checkpoints_had_a_key_of_their_own_keeps_its_best(run, tmp_path):
    older = shutil.copytree(run, tmp_path / "older")
    path = older / "checkpoints" / "last.ckpt"
    give_best_score(path, torch.tensor(2.0))
    checkpoint = read_checkpoint(path)
    states = checkpoint["callbacks"].items()
    checkpoint["callbacks"] = {key.replace("MovableCheckpoint", "ModelCheckpoint"): state for key, state in states}
    torch.save(checkpoint, path)
    assert main([*going_on(older), "--trainer.max_epochs=2", f"--trainer.default_root_dir={older}"]) == 0
    assert best_state(read_checkpoint(path))["best_model_score"] == 2


def best_state(checkpoint: dict) -> dict:
    return next(state for key, state in checkpoint["callbacks"].items() if "'monitor': 'val/" in key)


def give_best_score(path: Path, score: torch.Tensor, saved_as: Callable[[str], str] = str) -> None:
    checkpoint = read_checkpoint(path)
    state = best_state(checkpoint)
    state |= {
        "best_model_score": score,
        "kth_value": score,
        "best_k_models": {saved_as(model): score for model in state["best_k_models"]},
        **{key: saved_as(state[key]) for key in MovableCheckpoint.PATHS},
    }
    torch.save(checkpoint, path)


@pytest.mark.parametrize("plugins", ["MixedPrecision", "[MixedPrecision]", "TorchCheckpointIO"])
def test_plugins_may_be_asked_for(plugins, tmp_path):
    named = {"class_path": "MixedPrecision", "init_args": {"precision": "bf16-mixed", "device": "cpu"}}
    asked = json.dumps(named) if plugins == "MixedPrecision" else json.dumps([named])
    asked = "TorchCheckpointIO" if plugins == "TorchCheckpointIO" else asked
    assert main(["fit", *RUN, f"--trainer.default_root_dir={tmp_path}", f"--trainer.plugins={asked}"]) == 0
    assert (tmp_path / "checkpoints" / "last.ckpt").exists()


def test_another_seed_draws_other_crops_of_the_same_scenes(run, tmp_path):
    for name, options in {"1": [], "own": ["--data.seed=0"]}.items():
        options = [f"--trainer.default_root_dir={tmp_path}/{name}", "--seed_everything=1", *options]
        assert main(["fit", *RUN, *options]) == 0
    folders = (run, tmp_path / "1", tmp_path / "own")
    assert len({(folder / "metrics/version_0/metrics.csv").read_text() for folder in folders}) == 3
    assert torch.equal(*(scenes(seed).sets["train"][0].image for seed in (0, 1)))


def scenes(seed: int) -> ScenesData:
    data = ScenesData(size=32, train_images=1, seed=seed)
    data.setup("fit")
    return data


EARLY = {"class_path": "EarlyStopping", "init_args": {"monitor": "val/miou", "verbose": True}}


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--trainer.profiler=simple", "Profiler Report"),
        ("--trainer.callbacks+=ModelSummary", "Total params"),
        (f"--trainer.callbacks+={json.dumps(EARLY)}", "Metric val/miou improved"),
    ],
)
def test_what_an_option_is_to_tell_is_told(option, told, tmp_path):
    command = [sys.executable, "-m", "dla", "fit", *RUN, option, f"--trainer.default_root_dir={tmp_path}"]
    run = subprocess.run(command, check=True, timeout=200, capture_output=True, text=True)
    assert told in run.stderr
    assert "GPU available" not in run.stderr


def test_a_run_that_is_done_says_so(run, capsys):
    assert main(going_on(run)) == 0
    assert "nothing to train: 1 of 1 epochs are done; for more, raise --trainer.max_epochs" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_to(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["fit", *RUN, f"--trainer.default_root_dir={tmp_path}/file/run"]) == 1
    assert f"{tmp_path}/file/run cannot be written to (Not a directory): choose another" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "--data.batchsize=3",
            "ScenesData': Option 'batchsize' is not accepted; did you mean batch_size? (dla fit --h",
        ),
        ("--model.netwerk=x", "SegmentationTask': Option 'netwerk' is not accepted; did you mean network? (dla fit"),
        ("--data.crop=abc", "Parser key \"crop\": Expected a <class 'int'> Given value: abc (dla fit --help lists all"),
        ("--data=ScenesDta", "path string: ScenesDta Given value: ScenesDta; did you mean ScenesData? (dla fit"),
        ("--nonsense=3", "unrecognized arguments: --nonsense=3 (dla fit --help lists all options, "),
        ("--config=missing.yaml", "missing.yaml' (dla fit --help lists all options, "),
    ],
)
def test_a_wrong_option_is_one_line(option, message, tmp_path, capsys):
    assert main(["fit", *RUN, f"--trainer.default_root_dir={tmp_path}/run", option]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_configuration_that_names_itself(tmp_path, capsys):
    (tmp_path / "own.yaml").write_text("config: own.yaml\n")
    assert main(["fit", f"--config={tmp_path / 'own.yaml'}"]) == 2
    assert "dla fit: Config file loop detected: " in capsys.readouterr().err


@pytest.fixture
def almost_full_disk() -> Iterator[None]:
    """What the limit for a file's size refuses, torch reports as it does a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_named_and_the_checkpoint_before_stays(run, tmp_path, request, capsys):
    root = shutil.copytree(run, tmp_path / "run")
    before = contents(root / "checkpoints")
    request.getfixturevalue("almost_full_disk")
    assert main([*going_on(root), f"--trainer.default_root_dir={root}", "--trainer.max_epochs=2"]) == 1
    said = capsys.readouterr().err
    assert "ckpt could not be written (" in said
    assert "MiB are free there: make room." in said
    assert said.rstrip().endswith(f"--ckpt_path {root}/checkpoints/last.ckpt`.")
    assert contents(root / "checkpoints") == before


@pytest.mark.parametrize(
    ("kill", "stop", "code", "said"),
    [
        (os.kill, signal.SIGINT, 130, "interrupted"),
        pytest.param(os.kill, signal.SIGTERM, 143, "stopped by SIGTERM before its end", marks=pytest.mark.slow),
        pytest.param(os.killpg, signal.SIGTERM, 143, "stopped by SIGTERM before its end", marks=pytest.mark.slow),
    ],
)
def test_a_run_that_is_stopped_says_how_to_go_on(kill, stop, code, said, tmp_path):
    options = ["--trainer.max_epochs=1000", f"--trainer.default_root_dir={tmp_path}"]
    options += ["--data.workers=1"] * (kill is os.killpg)  # batch systems stop a run's loaders, too
    command = [sys.executable, "-m", "dla", "fit", *RUN, *options]
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, start_new_session=True, **streams)
    checkpoint = tmp_path / "checkpoints" / "last.ckpt"
    begun = time.monotonic()
    while not checkpoint.exists() and time.monotonic() - begun < 200:
        time.sleep(0.1)
    kill(process.pid, stop)
    errors = process.communicate(timeout=200)[1]
    assert process.returncode == code
    assert f"Go on with it by `dla fit --config {tmp_path}/config.yaml --ckpt_path {checkpoint}`." in errors
    assert errors.endswith(f"dla fit: {said}\n")


SLOW = [pytest.param(precision, marks=pytest.mark.slow) for precision in ("bf16-true", "64-true")]


@pytest.mark.parametrize("precision", [*SLOW, "bf16-mixed"])
@pytest.mark.parametrize(
    "job",
    [
        RUN,
        ["--model=BoundaryTask", "--model.network=dla46_cida", "--data=BoundaryScenesData", *RUN[3:]],
        ["--model=ClassificationTask", "--model.network=dla46_c", "--data=DigitsData", "--data.size=24", *TRAINER],
    ],
    ids=["segmentation", "boundaries", "classification"],
)
def test_any_precision_trains_and_predicts(job, precision, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("dla.tasks.precision.has_bfloat16", lambda: False)
    options = [f"--trainer.precision={precision}", "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=2"]
    assert main(["fit", *job, *options, f"--trainer.default_root_dir={tmp_path}"]) == 0
    assert ("note: this processor has no bfloat16" in capsys.readouterr().out) == precision.startswith("bf16")
    assert (tmp_path / "examples.png").exists() or "DigitsData" in job[2]
    load_predictor(tmp_path / "checkpoints" / "last.ckpt")


@pytest.mark.parametrize("precision", ["bf16-true", "bf16-mixed"])
def test_bf16_is_refused_where_torch_computes_it_wrong(precision, tmp_path, capsys):
    small = ["--model=ClassificationTask", "--model.network=dla46_c", "--data=DigitsData", "--data.size=16", *TRAINER]
    options = [f"--trainer.precision={precision}", f"--trainer.default_root_dir={tmp_path}"]
    assert main(["fit", *small, *options]) in (1, 2)
    assert f"images of 16 x 16 in {precision} on a CPU: torch gives wrong gradients" in capsys.readouterr().err


def test_a_class_of_one_batch_alone_is_seen():
    callback, trainer, task = (
        UnseenClasses(),
        SimpleNamespace(current_epoch=0, is_last_batch=False),
        SimpleNamespace(num_classes=3),
    )
    for index in range(2):
        batch = {"mask": torch.full((1, 4, 4), index)}
        callback.on_train_batch_end(trainer, task, None, batch, index)
    assert callback.seen.tolist() == [True, True, False, False]  # the last is void


def test_classes_that_no_mask_holds_are_named(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for i in range(4):
            save_image(tmp_path / split / f"{i}.png", random_image(i, 40, 48))
            save_image(tmp_path / f"{split}annot" / f"{i}.png", rng.integers(0, 2, (40, 48)).astype(np.uint8) * 255)
    data = ["--data=FolderData", f"--data.root={tmp_path}", "--data.classes=[wall, crack]", "--data.crop=32"]
    options = [*TASK, *data, "--data.batch_size=2", "--data.workers=0", *TRAINER]
    assert main(["fit", *options, f"--trainer.default_root_dir={tmp_path}/run", "--trainer.max_epochs=2"]) == 0
    warning = "warning: no pixel of the first epoch is crack: check the annotations; where masks hold 0 and 255, which"
    assert capsys.readouterr().out.count(warning) == 1


@pytest.mark.parametrize("drawn", [255, 0])
def test_a_val_split_that_is_all_void_is_told(tmp_path, capsys, drawn):
    for split in ("train", "val"):
        for i in range(3):
            save_image(tmp_path / split / f"{i}.png", random_image(i, 40, 48))
            values = np.arange(40 * 48, dtype=np.uint8).reshape(40, 48) % 2
            values[:20] = 255
            save_image(
                tmp_path / f"{split}annot" / f"{i}.png", values if split == "train" else np.full_like(values, drawn)
            )
    data = ["--data=FolderData", f"--data.root={tmp_path}", "--data.classes=[wall, crack]", "--data.crop=32"]
    options = [*TASK, *data, "--data.batch_size=2", "--data.workers=0", *TRAINER]
    assert main(["fit", *options, f"--trainer.default_root_dir={tmp_path}/run", "--trainer.max_epochs=1"]) == 0
    warning = "warning: no pixel of val counts, since all its annotations are void: check --data.void"
    assert capsys.readouterr().out.count(warning) == (drawn == 255)


def test_classes_that_all_occur_are_not(tmp_path, capsys):
    options = ["--trainer.limit_train_batches=6", "--trainer.limit_val_batches=1"]
    assert main(["fit", *RUN, "--data.train_images=40", *options, f"--trainer.default_root_dir={tmp_path}"]) == 0
    assert "no pixel of the first epoch" not in capsys.readouterr().out


def test_a_dry_run_needs_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", *RUN, "--trainer.fast_dev_run=true"]) == 0
    assert not list(tmp_path.iterdir())


def test_home_is_written_out_in_paths(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(run.parent))
    options = [f"--trainer.default_root_dir=~/{run.name}", "--trainer.max_epochs=2"]
    before = contents(run)
    assert main(["fit", *RUN, *options]) == 1
    assert f"{run} already holds a run" in capsys.readouterr().err
    assert contents(run) == before


def test_home_is_written_out_in_every_path_of_the_data(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    data = ["--data=ShardsData", "--data.train=~/a.tar", "--data.val=~/b.tar", "--data.train_images=8"]
    options = [*data, "--data.class_file=~/names.txt", f"--trainer.default_root_dir={tmp_path}/run"]
    assert main(["fit", "--model=ClassificationTask", "--model.network=dla46_c", *options]) == 1
    assert f"{tmp_path}/names.txt" in capsys.readouterr().err


class EndedLoader(ScenesData):
    """Its process that loads ends as the system ends one where memory is full."""

    def training(self) -> Any:
        return Ended(super().training())


class Ended(torch.utils.data.Dataset[Any]):
    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, draw: Any) -> Any:
        if torch.utils.data.get_worker_info():  # not where training images are drawn
            # Torch raises in the main thread, wherever it is; in a check of jaxtyping that would pass for a wrong type.
            time.sleep(1)
            os.kill(os.getpid(), signal.SIGKILL)
        return self.dataset[draw]


@pytest.mark.filterwarnings("ignore:.*worker processes in total")  # on a machine with one core
def test_a_process_that_loads_data_and_is_killed_is_one_line(tmp_path, capsys):
    data = [f"--data={__name__}.EndedLoader", *SCENES[1:], "--data.batch_size=4", "--data.workers=1"]
    assert main(["fit", *TASK, *data, *TRAINER, f"--trainer.default_root_dir={tmp_path}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dla fit: a process that loads data ended early (")  # how depends on who notices first
    assert line.endswith("is full: make room there, or lower --data.workers or --data.batch_size")


@pytest.mark.parametrize(
    ("said", "stopped"), [("Terminated", True), ("Terminated: 15", True), ("Killed", False), ("Killed: 9", False)]
)
def test_the_end_of_a_process_that_loads_data_by_sigterm_is_known(said, stopped):
    """On macOS the number of a signal stands behind its name."""
    error = RuntimeError(f"DataLoader worker (pid 7) is killed by signal: {said}. ")
    assert stopped_with_loaders(error) is stopped


def test_a_process_that_is_gone_while_a_checkpoint_is_written_is_no_fault_of_the_disk(tmp_path, monkeypatch):
    def gone(*arguments: Any) -> None:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Terminated. ")

    monkeypatch.setattr(torch, "save", gone)
    with pytest.raises(RuntimeError, match=r"^DataLoader worker \(pid 7\) is killed"):
        AtomicCheckpointIO().save_checkpoint({}, tmp_path / "last.ckpt")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_in_the_systems_words_and_mib(tmp_path, monkeypatch):
    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=500 * 2**20))
    reason = r"\[Errno 28\] No space left on device"
    with pytest.raises(OSError, match=rf"last.ckpt could not be written \({reason}\), and 500 MiB are free there:"):
        AtomicCheckpointIO().save_checkpoint({}, tmp_path / "last.ckpt")


def test_a_folder_in_which_another_process_trains_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("dla.tasks.lock.PATIENCE", 0.1)
    options = [*RUN, f"--trainer.default_root_dir={tmp_path}", "--ckpt_path=last"]
    assert main(["fit", *options]) == 0
    before = contents(tmp_path / "checkpoints")
    with FileLock(tmp_path / ".lock"):
        assert main(["fit", *options, "--trainer.max_epochs=2"]) == 1
    assert f"another process is training in {tmp_path}: wait for it or stop it" in capsys.readouterr().err
    assert contents(tmp_path / "checkpoints") == before
    assert main(["fit", *options, "--trainer.max_epochs=2"]) == 0  # the first let go


def test_a_run_that_began_while_another_waited_for_the_folder_is_kept(run):
    before = contents(run)
    trainer = Trainer(default_root_dir=run, accelerator="cpu", logger=False, enable_checkpointing=False)
    with pytest.raises(FileExistsError, match=f"{run} already holds a run"):
        FolderLock().on_fit_start(trainer, SegmentationTask(network="dla46_cida", num_classes=2))
    assert contents(run) == before


OWN = """
import torch
from timm.models import build_model_with_cfg, register_model
from dla.tasks import ClassificationTask

class Small(torch.nn.Module):
    def __init__(self, num_classes=1000, in_chans=3):
        super().__init__()
        self.body, self.head = torch.nn.Conv2d(in_chans, 16, 3, 2), torch.nn.Linear(16, num_classes)

    def forward(self, x):
        return self.head(self.body(x).relu().mean((2, 3)))

@register_model
def small_of_mine(pretrained=False, **options):
    return build_model_with_cfg(Small, "small_of_mine", pretrained, **options)

class MyTask(ClassificationTask):
    pass
"""


def test_a_network_of_ones_own(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine_of_test.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    options = [*TRAINER, "--data=DigitsData", "--data.size=16", "--trainer.limit_train_batches=2"]
    task = ["--model=mine_of_test.MyTask", "--model.network=timm/small_of_mine"]
    assert main(["fit", *task, *options, f"--trainer.default_root_dir={tmp_path}/run"]) == 0
    assert "timm/small_of_mine, 0.0 M parameters" in capsys.readouterr().out
    options += ["--model.grad_checkpointing=true", f"--trainer.default_root_dir={tmp_path}/other"]
    assert main(["fit", *task, *options]) == 1
    assert "timm/small_of_mine has no set_grad_checkpointing" in capsys.readouterr().err


def test_the_way_to_go_on_can_be_pasted(run, tmp_path, capsys):
    other = tmp_path / "a run"
    shutil.copytree(run, other)
    assert main(["fit", *RUN, f"--trainer.default_root_dir={other}"]) == 1
    assert f"--config '{other}/config.yaml' --ckpt_path '{other}/checkpoints/last.ckpt'" in capsys.readouterr().err


# Without the bar it is the same: what nobody reads, rich writes either way.
@pytest.mark.parametrize("bar", ["true", pytest.param("false", marks=pytest.mark.slow)])
def test_a_run_whose_output_nobody_reads_ends_like_other_commands(bar, tmp_path):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "dla", "fit", *RUN, f"--trainer.default_root_dir={tmp_path}"]
    with os.fdopen(write, "wb") as closed:
        done = subprocess.run([*command, f"--trainer.enable_progress_bar={bar}"], stdout=closed, stderr=subprocess.PIPE)
    assert done.returncode == 141, done.stderr.decode()
    assert b"Traceback" not in done.stderr


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*LeafSpec:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval")
def test_numbers_of_numpy_and_a_folder_that_is_not_there(tmp_path):
    """As in a loop over rates in Python, whose runs keep their checkpoints."""
    data = ScenesData(size=32, train_images=8, val_images=2, batch_size=4, workers=0)
    data.mean, data.std = np.full(3, 0.5), np.full(3, 0.2)
    rate, classes = np.logspace(-3, -1, 3)[1], np.int64(len(data.classes))
    task = SegmentationTask(network="dla46_cida", num_classes=classes, lr=rate, momentum=np.float64(0.5))
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path / "fresh",
    )
    trainer.fit(task, datamodule=data)
    assert (tmp_path / "fresh" / "examples.png").exists()
    trainer.save_checkpoint(tmp_path / "all.ckpt")
    assert read_checkpoint(tmp_path / "all.ckpt")["dla"]["mean"] == [0.5] * 3
    assert load_predictor(str(tmp_path / "all.ckpt")).std == (0.2,) * 3


@pytest.fixture
def folders(tmp_path) -> Path:
    """A set of one's own, of two images a split."""
    for split in ("train", "val"):
        for number in range(2):
            save_image(tmp_path / "set" / split / f"{number}.png", np.zeros((32, 32, 3), np.uint8))
            save_image(tmp_path / "set" / f"{split}annot" / f"{number}.png", np.zeros((32, 32), np.uint8))
    return tmp_path / "set"


def test_classes_that_look_like_numbers_stay_names(folders, tmp_path):
    own = ["--data=FolderData", f"--data.root={folders}", '--data.classes=["1e3", "inf", "007", "crack"]']
    root = f"--trainer.default_root_dir={tmp_path / 'run'}"
    assert main(["fit", *TASK, *own, "--data.batch_size=2", "--data.workers=0", "--data.crop=32", *TRAINER, root]) == 0
    config = tmp_path / "run" / "config.yaml"
    assert main(["validate", f"--config={config}", "--ckpt_path=last"]) == 0
    assert "'1e3'" in config.read_text()


def test_painted_annotations_are_read_again_from_the_saved_configuration(folders, tmp_path):
    for path in folders.glob("*annot/*.png"):
        Image.new("RGB", (32, 32), (200, 30, 30)).save(path)
    own = ["--data=FolderData", f"--data.root={folders}", "--data.classes=[wall, crack]", "--data.crop=32"]
    colors = ["--data.values=[[0, 0, 0], [200, 30, 30]]", "--data.void=[255, 0, 255]", "--data.workers=0"]
    root = f"--trainer.default_root_dir={tmp_path / 'run'}"
    assert main(["fit", *TASK, *own, *colors, "--data.batch_size=2", *TRAINER, root]) == 0
    assert main(["validate", f"--config={tmp_path / 'run' / 'config.yaml'}", "--ckpt_path=last"]) == 0
    predictor = load_predictor(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert predictor.colors == ((0, 0, 0), (200, 30, 30))


def test_one_class_alone_is_told(folders, tmp_path, capsys):
    own = [
        "--data=FolderData",
        f"--data.root={folders}",
        "--data.classes=[crack]",
        f"--trainer.default_root_dir={tmp_path}",
    ]
    assert main(["fit", *TASK, *own, *TRAINER]) in (1, 2)
    assert "the data has 1 class: name what is not of it, too, as [background, crack]" in capsys.readouterr().err


def test_names_of_classes_are_in_utf8_whatever_the_systems_encoding(tmp_path, western_windows, monkeypatch):
    names = ["Straße", "дорога"]
    for split in ("train", "val"):
        for folder in (split, f"{split}annot"):
            (tmp_path / folder).mkdir()
            Image.new("RGB" if folder == split else "L", (64, 64)).save(tmp_path / folder / "a.png")
    data = {"root": str(tmp_path), "classes": names, "crop": 64, "batch_size": 1, "workers": 0, "repeat": 2}
    recipe = {"data": {"class_path": "dla.data.FolderData", "init_args": data}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(recipe, allow_unicode=True), encoding="utf-8")
    run = tmp_path / "run"
    options = [*TASK, f"--config={tmp_path / 'own.yaml'}", *TRAINER, f"--trainer.default_root_dir={run}"]
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
    assert main(["fit", *options]) == 0
    kept = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    assert kept["data"]["init_args"]["classes"] == names
    header = (run / "metrics/version_0/metrics.csv").read_text(encoding="utf-8").partition("\n")[0]
    assert {f"val/iou/{name}" for name in names} <= set(header.strip().split(","))
    printed = sys.stdout.buffer.getvalue().decode("cp1252")
    assert all(name in printed for name in ["Straße", r"\u0434\u043e\u0440\u043e\u0433\u0430"])
