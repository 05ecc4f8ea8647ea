"""Shards: who reads which, what an epoch is, that val counts each image once, and what is refused."""

import os
import subprocess
import sys
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from shutil import which
from threading import Thread

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image
from recorder import Recorder
from tar_files import CLASSES, damaged, encoded, number, samples, write

from dla.cli import main
from dla.data import Draw, SeededSampler, ShardsData
from dla.data.classification.shard_files import ShardImages, expanded_shards, streamed_shard
from dla.data.classification.shard_stream import ShardStream, key_number

TRAIN, VAL = (7, 5, 6, 4), (5, 3)  # images of the shards


def make(root: Path, split: str, counts: tuple[int, ...], first: int = 0) -> str:
    for shard, count in enumerate(counts):
        write(root / f"{split}-{shard:02}.tar", samples(first, count))
        first += count
    return str(root / f"{split}-{{00..{len(counts) - 1:02}}}.tar")


@pytest.fixture
def root(tmp_path):
    make(tmp_path, "train", TRAIN)
    make(tmp_path, "val", VAL, first=30)
    return tmp_path


def data(root: Path, **changes) -> ShardsData:
    options = {"train": f"{root}/train-{{00..03}}.tar", "val": f"{root}/val-{{00..01}}.tar", "count": 3}
    options |= {"train_images": 22, "crop": 16, "batch_size": 4, "val_batch_size": 2, "workers": 0, "buffer": 5}
    return ShardsData(**{**options, **changes})


def stream(root: Path, **changes) -> ShardStream:
    shards = expanded_shards(f"{root}/train-{{00..03}}.tar")
    options = {"images": 22, "transform": lambda image, label: (image, label), "buffer": 5, "seed": 1}
    return ShardStream(shards, CLASSES, **{**options, **changes})


def epoch(source: ShardStream, count: int, number_of_epoch: int = 0) -> list[int]:
    return [number(source[Draw(number_of_epoch, item)]["image"]) for item in range(count)]


def test_paths_of_windows_are_local_files(root, monkeypatch):
    monkeypatch.chdir(root.parent)
    (root / "train-00.tar").rename("C:train-00.tar")
    monkeypatch.setattr(os, "sep", "\\")
    assert expanded_shards(f"{root.name}\\train-{{01..02}}.tar") == tuple(f"{root.name}/train-0{n}.tar" for n in (1, 2))
    (shard,) = expanded_shards("C:train-00.tar")
    assert [stored.image.key for stored in streamed_shard(shard, CLASSES)] == [str(n) for n in range(7)]
    assert len(ShardImages([shard], CLASSES)) == 7


def test_compressed_shards_and_commands_can_be_streamed(root):
    plain = root / "train-00.tar"
    subprocess.run(["gzip", "-k", str(plain)], check=True)
    for shard in (f"{plain}.gz", f"pipe:cat {plain}", f"pipe:gzip -dc {plain}.gz"):
        assert [stored.image.key for stored in streamed_shard(shard, CLASSES)] == [str(n) for n in range(7)]
    left = streamed_shard("pipe:cat " + " ".join([str(plain)] * 50), CLASSES)
    assert next(left).image.key == "0"
    left.close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def server(root):
    """The address of a server of the shards, on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.skipif(which("curl") is None, reason="curl reads from servers, and is not installed")
def test_shards_of_a_server_are_streamed(root, server):
    shard = f"{server}/train-00.tar"
    assert [stored.image.key for stored in streamed_shard(shard, CLASSES)] == [str(n) for n in range(7)]
    module = data(root, train=f"{server}/train-{{00..03}}.tar")
    module.setup("fit")
    assert sum(len(batch["label"]) for batch in module.train_dataloader()) == 20  # of 22, in batches of 4
    with pytest.raises(ValueError, match=r"none.tar cannot be read as a tar file"):
        list(streamed_shard(f"{server}/none.tar", CLASSES))


def test_a_server_without_curl_is_told_at_once(root, monkeypatch):
    monkeypatch.setenv("PATH", str(root))
    with pytest.raises(
        FileNotFoundError, match=r"^https://a\.org/train-00\.tar is read by curl, .*: install it, or copy"
    ):
        data(root, train="https://a.org/train-{00..03}.tar").setup("fit")


def test_an_epoch_has_every_image_once_where_it_is_as_long(root):
    assert sorted(epoch(stream(root), 22)) == list(range(22))
    assert set(Counter(epoch(stream(root), 44)).values()) == {2}  # goes round again


def test_order_is_mixed_and_depends_on_seed_and_epoch(root):
    first = epoch(stream(root), 22)
    assert epoch(stream(root), 22) == first
    assert epoch(stream(root), 22, 1) != first
    assert epoch(stream(root, seed=2), 22) != first
    assert epoch(stream(root, buffer=1), 22) != first
    # Shards come in random order, and a buffer mixes neighbours.
    shards = [0] * 7 + [1] * 5 + [2] * 6 + [3] * 4
    assert sum(shards[a] != shards[b] for a, b in pairwise(first)) > 3
    assert first[:4] != sorted(first[:4])


def test_a_draw_that_is_not_larger_starts_the_epoch_anew(root):
    source = stream(root)
    first = epoch(source, 9, 3)
    assert epoch(source, 22, 3)[:9] == first
    assert epoch(source, 22, 4)[:9] != first
    assert epoch(source, 22, 3)[:9] == first


def test_processes_have_shards_of_their_own(root):
    parts = [epoch(stream(root, rank=rank, processes=2), 9) for rank in (0, 1)]
    assert not set(parts[0]) & set(parts[1])
    loaders = []
    for rank in (0, 1):
        source = stream(root, rank=rank, processes=2)
        sampler = SeededSampler(source, shuffle=False, drop_last=True, num_replicas=2, rank=rank)
        loaders.append([source[draw] for draw in sampler])
    assert [len(items) for items in loaders] == [11, 11]


@pytest.mark.filterwarnings("ignore:.*worker processes in total")  # on a machine with one core
def test_workers_have_shards_of_their_own(root):
    module = data(root, workers=2, scale=(1.0, 1.0), flip=False)
    module.setup("fit")
    batches = list(module.train_dataloader())
    assert len(batches) == 5
    seen = [[number(image) for batch in batches[part::2] for image in batch["image"]] for part in (0, 1)]
    assert not set(seen[0]) & set(seen[1])


def test_labels_and_indices(root):
    module = data(root, scale=(1.0, 1.0))
    module.setup("fit")
    assert module.holds("train") == "4 shards of train"
    assert module.holds("val") == f"{len(module.whole('val'))} images of val"
    batches = list(module.train_dataloader())
    assert [len(batch["label"]) for batch in batches] == [4] * 5
    assert [i for batch in batches for i in batch["index"].tolist()] == list(range(20))
    for batch in batches:
        assert batch["label"].tolist() == [number(image) % 3 for image in batch["image"]]
    ready = module.on_after_batch_transfer(batches[0], 0)
    assert (ready["image"].shape, ready["image"].dtype) == ((4, 3, 16, 16), torch.float32)
    assert ready["label"].dtype == torch.int64


def test_augmentation_depends_on_key_seed_and_epoch_alone(root):
    def views(number_of_epoch: int = 2, **changes) -> dict[int, torch.Tensor]:
        source = stream(root, transform=noisy, **changes)
        items = [source[Draw(number_of_epoch, item)] for item in range(9)]
        return {int(item["image"][2, 0, 0]): item["image"] for item in items}

    one = views()
    for changes in ({"buffer": 2}, {"processes": 2}, {"images": 9}):
        other = views(**changes)
        common = one.keys() & other.keys()
        assert common
        assert all(torch.equal(one[key], other[key]) for key in common)
    for other in (views(3), views(seed=5)):
        common = one.keys() & other.keys()
        assert common
        assert not any(torch.equal(one[key], other[key]) for key in common)
    assert key_number("a") != key_number("b")


def noisy(image, label):
    """A view that keeps which image it is in the blue of its first pixel, and draws the rest."""
    drawn = torch.randint(256, (3, 8, 8), dtype=torch.uint8)
    drawn[2, 0, 0] = number(image)
    return drawn, label


def test_val_counts_each_image_once_in_any_number_of_processes(root):
    module = data(root)
    module.setup("validate")
    assert module.classes == ("0", "1", "2")
    batches = list(module.val_dataloader())
    assert [k for batch in batches for k in batch["label"].tolist()] == [n % 3 for n in range(30, 38)]
    whole = module.whole("val")
    assert [number(whole[Draw(0, i)]["image"]) for i in range(8)] == list(range(30, 38))
    for processes in (2, 3, 5):  # 5 and 3 images in two shards
        samplers = [SeededSampler(whole, shuffle=False, num_replicas=processes, rank=rank) for rank in range(processes)]
        items = [[whole[draw] for draw in sampler] for sampler in samplers]
        assert len({len(part) for part in items}) == 1
        counted = [number(item["image"]) for part in items for item in part if item["label"] != -1]
        assert sorted(counted) == list(range(30, 38))


def test_classes_by_name(root, tmp_path):
    (tmp_path / "names.txt").write_text("cat\nant\nbee\n")
    write(tmp_path / "val-00.tar", {"a.png": encoded(1), "a.cls": b"bee", "b.png": encoded(2), "b.cls": b"0"})
    module = data(root, val=f"{tmp_path}/val-00.tar", count=None, class_file=str(tmp_path / "names.txt"))
    module.setup("validate")
    assert module.num_classes == 3
    assert [int(module.sets["val"][i].label) for i in (0, 1)] == [2, 0]


def test_a_broken_image_is_named(tmp_path):
    path = str(write(tmp_path / "x.tar", {"k7.jpg": encoded(1, "JPEG")[:50], "k7.cls": b"1"}))
    source = ShardStream([path], CLASSES, images=1, transform=noisy, buffer=1)
    for read in (lambda: source[Draw(0, 0)], lambda: ShardImages([path], CLASSES)[0]):
        with pytest.raises(ValueError, match=rf"k7.jpg in {path} cannot be read as an image"):
            read()


def test_what_is_missing_is_named(root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*train-04.tar, which .*train-\{00..04\}.tar stands for"):
        data(root, train=f"{root}/train-{{00..04}}.tar").setup("fit")
    with pytest.raises(ValueError, match=r"train-\{00.tar cannot be expanded"):
        data(root, train=f"{root}/train-{{00.tar").setup("fit")
    with pytest.raises(ValueError, match="there are no test shards"):
        data(root).setup("test")
    with pytest.raises(
        FileNotFoundError, match=r"there is no list .*names.txt: expected a file with the name of one class"
    ):
        data(root, count=None, class_file=f"{tmp_path}/names.txt")


def test_val_must_be_local_and_not_compressed(root):
    with pytest.raises(ValueError, match=r"pipe:cat x.tar is no local file: val and test are read by place"):
        data(root, val="pipe:cat x.tar").setup("validate")
    subprocess.run(["gzip", str(root / "val-00.tar")], check=True)
    with pytest.raises(ValueError, match=r"val-00.tar.gz cannot be read as a tar file that is not compressed"):
        data(root, val=f"{root}/val-00.tar.gz").setup("validate")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"cache": True}, "cache, repeat and aug_repeats do not work with shards"),
        ({"repeat": 2}, "cache, repeat and aug_repeats do not work with shards"),
        ({"train_images": 0}, "train_images is 0"),
        ({"buffer": 0}, "buffer 0"),
        ({"count": None}, "class_file is None and count is None"),
        ({"class_file": "x"}, "class_file is x and count is 3"),
        ({"count": 0}, "count is 0"),
    ],
)
def test_bad_options_are_named(root, changes, fault):
    with pytest.raises(ValueError, match=fault):
        data(root, **changes)


def test_more_workers_than_shards_is_a_clear_error(root):
    enough, module = data(root, workers=4), data(root, workers=5)
    for one in (enough, module):
        one.setup("fit")
    assert len(enough.training()) == 22
    with pytest.raises(ValueError, match="train has 4 shards, too few for 1 processes of 5 workers"):
        module.train_dataloader()


def test_without_webdataset_the_extra_is_named(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "webdataset", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'deep-layer-aggregation\[shards\]'"):
        data(root)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval")
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*worker processes in total")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_sees_the_next_epoch(root, quiet_trainer, tmp_path, workers):
    def fit(epochs: int, resumed: bool = False) -> dict[int, list[int]]:
        """Which images each epoch showed."""
        recorder = Recorder(3)
        trainer = quiet_trainer(max_epochs=epochs, num_sanity_val_steps=2)
        path = tmp_path / "last.ckpt"
        trainer.fit(recorder, datamodule=data(root, workers=workers), ckpt_path=path if resumed else None)
        trainer.save_checkpoint(path)
        seen: dict[int, list[int]] = {}
        for batch in recorder.shown:
            images = batch["image"][:, 0].mean((1, 2))
            seen.setdefault(int(batch["epoch"][0]), []).extend((1000 * images).round().int().tolist())
        return seen

    whole = fit(3)
    assert {number: len(seen) for number, seen in whole.items()} == {0: 20, 1: 20, 2: 20}
    assert len({tuple(seen) for seen in whole.values()}) == 3
    assert fit(1) == {0: whole[0]}
    assert fit(3, resumed=True) == {1: whole[1], 2: whole[2]}


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*LeafSpec:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval", "ignore:.*ended before the epoch ended")
@pytest.mark.filterwarnings("ignore:.*callbacks used to create the checkpoint")
def test_going_on_within_an_epoch_says_that_its_shards_begin_anew(root, quiet_trainer, tmp_path):
    path = tmp_path / "kept" / "within.ckpt"
    keep = ModelCheckpoint(path.parent, path.stem, every_n_train_steps=2, save_top_k=1)
    options = {"max_epochs": 1, "num_sanity_val_steps": 0}
    trainer = quiet_trainer(callbacks=[keep], enable_checkpointing=True, limit_train_batches=3, **options)
    trainer.fit(Recorder(3), datamodule=data(root, workers=0))
    with pytest.warns(UserWarning, match=r"epoch 1 after 2 batches: its shards are read from their start"):
        quiet_trainer(**options).fit(Recorder(3), datamodule=data(root, workers=0), ckpt_path=path)


def arguments(root: Path, folder: Path, *extra: str) -> list[str]:
    options = {
        "--model": "ClassificationTask",
        "--model.network": "dla46_c",
        "--model.options": "{stem_stride: 1}",
        "--data": "ShardsData",
        "--data.train": f"{root}/train-{{00..03}}.tar",
        "--data.val": f"{root}/val-{{00..01}}.tar",
        "--data.count": "3",
        "--data.train_images": "22",
        "--data.crop": "16",
        "--data.batch_size": "4",
        "--data.val_batch_size": "3",
        "--data.workers": "0",
        "--trainer.accelerator": "cpu",
        "--trainer.max_epochs": "1",
        "--trainer.enable_progress_bar": "false",
        "--trainer.default_root_dir": str(folder),
    }
    return [*(f"{key}={value}" for key, value in options.items()), *extra]


def test_the_command_trains_and_shows_the_worst_images(root, tmp_path):
    run = tmp_path / "run"
    assert main(["fit", *arguments(root, run)]) == 0
    with Image.open(run / "val_worst.png") as picture:
        assert picture.size[0] == 6 * 164  # eight images, in rows of six
    assert [row.split(",")[1] for row in (run / "val_classes.csv").read_text().split()[1:]] == ["3", "3", "2"]


def test_the_command_says_what_is_wrong_in_one_line(root, tmp_path, capsys):
    damaged("a broken header", root / "val-01.tar")
    assert main(["fit", *arguments(root, tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"dla fit: {root}/val-01.tar is damaged or cut short")
    assert said.count("\n") == 1


@pytest.mark.slow
def test_two_processes_train_and_count_each_image_once(root, tmp_path):
    two = ("--trainer.strategy=ddp", "--trainer.devices=2")
    command = [sys.executable, "-m", "dla"]
    fit = [*command, "fit", *arguments(root, tmp_path / "run", *two)]
    subprocess.run(fit, check=True, timeout=300)
    checkpoint = f"--ckpt_path={tmp_path}/run/checkpoints/last.ckpt"
    assert torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["global_step"] == 2  # 22 // 2 // 4
    for name, extra in (("one", ()), ("two", two)):
        subprocess.run(
            [*command, "validate", *arguments(root, tmp_path / name, checkpoint, *extra)], check=True, timeout=300
        )
    for name in ("val_classes.csv", "val_worst.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
