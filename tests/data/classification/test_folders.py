"""A folder of images per class: whose classes count, what is refused, and what a batch of them holds."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from recorder import Recorder

from dla.cli import main
from dla.data import Draw, ImageFolderData
from dla.data.classification.folders import LabelledFolder, folder_classes


def put(folder: Path, count: int = 2, size: tuple[int, int] = (40, 30)) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        color = (50 * number, sum(folder.name.encode()) % 256, 90)
        Image.new("RGB", size, color).save(folder / f"{number}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three classes in train, two of them in val; images of several sizes."""
    put(tmp_path / "train" / "ant", 4)
    put(tmp_path / "train" / "bee", 3, size=(64, 50))
    put(tmp_path / "train" / "cat", 5, size=(20, 90))
    put(tmp_path / "val" / "ant")
    put(tmp_path / "val" / "cat", 1, size=(64, 64))
    (tmp_path / "train" / ".cache").mkdir()
    (tmp_path / "train" / "ant" / "notes.txt").write_text("no image")
    return tmp_path


def data(root: Path, **changes) -> ImageFolderData:
    return ImageFolderData(str(root), **{"crop": 24, "batch_size": 4, "val_batch_size": 2, "workers": 0} | changes)


def test_train_fixes_the_classes_and_val_may_lack_some(root):
    module = data(root)
    module.setup("fit")
    assert module.classes == ("ant", "bee", "cat")
    assert [label for _, label in module.sets["train"].files] == [0] * 4 + [1] * 3 + [2] * 5
    assert [int(module.sets["val"][i].label) for i in range(3)] == [0, 0, 2]


def test_some_of_train_are_held_out_where_there_is_no_val(tmp_path):
    put(tmp_path / "train" / "ant", 20)
    put(tmp_path / "train" / "bee", 11)
    module = data(tmp_path, hold_out=True)
    module.setup("fit")
    assert (len(module.sets["train"]), len(module.sets["val"])) == (28, 3)
    labels = [[int(module.sets[split][i].label) for i in range(len(module.sets[split]))] for split in ("train", "val")]
    assert labels == [[0] * 18 + [1] * 10, [0, 0, 1]]
    with pytest.raises(FileNotFoundError, match=r"no folder \S+/val: .* or --data.hold_out true"):
        data(tmp_path).setup("fit")


def test_images_below_a_class_count(root):
    put(root / "train" / "bee" / "wild" / "small")
    assert [label for _, label in LabelledFolder(root / "train", ("ant", "bee", "cat")).files].count(1) == 5


def test_a_class_may_be_links_to_folders(root, tmp_path):
    put(tmp_path / "elsewhere" / "yak")
    (root / "train" / "yak").symlink_to(tmp_path / "elsewhere" / "yak")
    (root / "train" / "zebu").mkdir()
    (root / "train" / "zebu" / "linked").symlink_to(tmp_path / "elsewhere" / "yak")
    classes = folder_classes(root)
    assert classes == ("ant", "bee", "cat", "yak", "zebu")
    assert [label for _, label in LabelledFolder(root / "train", classes).files][-4:] == [3, 3, 4, 4]


def test_a_file_fixes_order_and_classes(root):
    (root / "classes.txt").write_text("cat\n\nant\nbee\ndog\n")
    module = data(root)
    module.setup("fit")
    assert module.classes == ("cat", "ant", "bee", "dog")
    labels = {Path(path).parent.name: label for path, label in module.sets["train"].files}
    assert labels == {"ant": 1, "bee": 2, "cat": 0}
    other = root / "other.txt"
    other.write_text("ant\nbee\ncat")
    assert data(root, class_file=str(other)).classes == ("ant", "bee", "cat")


def test_with_a_file_val_is_measured_without_train(root):
    (root / "classes.txt").write_text("ant\nbee\ncat\n")
    (root / "train").rename(root / "away")
    module = data(root)
    module.setup("validate")
    assert module.num_classes == 3
    assert [batch["label"].tolist() for batch in module.val_dataloader()] == [[0, 0], [2]]


def test_a_class_that_train_lacks_is_refused(root):
    put(root / "val" / "yak")
    with pytest.raises(ValueError, match=r"val has folders that are none of the 3 classes: yak; the train split or"):
        data(root).setup("validate")


def test_what_is_missing_is_named(root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere.train"):
        folder_classes(root / "nowhere")
    with pytest.raises(
        FileNotFoundError, match=r"there is no list .*x.txt: expected a file with the name of one class"
    ):
        folder_classes(root, root / "x.txt")
    with pytest.raises(FileNotFoundError, match=r"no folder .*test"):
        data(root).setup("test")
    (root / "test").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no folders in .*test"):
        data(root).setup("test")
    (root / "test" / "ant").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no images in .*test"):
        data(root).setup("test")
    (root / "train" / "dog").mkdir()
    with pytest.raises(ValueError, match="dog holds no image: add some, remove the folder"):
        data(root)
    for text, fault in (
        ("ant\nbee\nant", "lists ant more than once: keep one"),
        ("\n", "lists no class; expected one name"),
    ):
        (root / "classes.txt").write_text(text)
        with pytest.raises(ValueError, match=fault):
            data(root)
    (root / "classes.txt").write_text("ant\nbee\ncat\ndog\n", encoding="utf-8-sig")  # as Windows' editor saves it
    assert data(root).classes[0] == "ant"
    (root / "classes.txt").write_text("größe\n", encoding="latin-1")
    with pytest.raises(ValueError, match=r"classes.txt cannot be read as text"):
        data(root)


def test_a_folder_alone_is_no_set_of_classes(tmp_path):
    path = tmp_path / "train" / "images" / "ant" / "0.png"
    path.parent.mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(path)
    with pytest.raises(ValueError, match=r"train holds the folder images alone: expected one for each of at least 2"):
        data(tmp_path)


def test_a_broken_image_is_named(root):
    (root / "train" / "ant" / "0.png").write_bytes(b"nothing")
    module = data(root, cache=True)
    with pytest.raises(ValueError, match=r"ant/0.png cannot be read as an image"):
        module.setup("fit")


@pytest.mark.filterwarnings("ignore:.*worker processes in total")  # on a machine with one core
@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("workers", [0, 1])
def test_the_command_names_a_broken_image_in_one_line(root, tmp_path, capsys, split, workers):
    path = root / split / "ant" / "0.png"
    path.write_bytes(b"nothing")
    options = {
        "--model": "ClassificationTask",
        "--model.network": "dla46_c",
        "--model.options": "{stem_stride: 1}",
        "--data": "ImageFolderData",
        "--data.root": str(root),
        "--data.crop": "16",
        "--data.batch_size": "4",
        "--data.workers": str(workers),
        "--trainer.accelerator": "cpu",
        "--trainer.max_epochs": "1",
        "--trainer.enable_progress_bar": "false",
        "--trainer.default_root_dir": str(tmp_path / "run"),
    }
    assert main(["fit", *(f"{key}={value}" for key, value in options.items())]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"dla fit: {path} cannot be read as an image (")
    assert said.count("\n") == 1


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("policy", [None, "randaugment", "trivialaugment", "autoaugment", "augmix"])
def test_training_batch(root, policy, cache):
    module = data(root, policy=policy, cache=cache, color=0.3, scale=(0.2, 1.0))
    module.setup("fit")
    batches = [module.on_after_batch_transfer(batch, 0) for batch in module.train_dataloader()]
    assert len(batches) == 3
    assert sorted(torch.cat([batch["index"] for batch in batches]).tolist()) == list(range(12))
    for batch in batches:
        assert set(batch) == {"image", "label", "index", "epoch"}
        assert (batch["image"].shape, batch["image"].dtype) == ((4, 3, 24, 24), torch.float32)
        assert batch["label"].dtype == torch.int64
        expected = [module.sets["train"][i].label for i in batch["index"].tolist()]
        assert batch["label"].tolist() == expected


def test_measured_images_are_the_resized_centre(root):
    pixels = torch.zeros(3, 64, 64, dtype=torch.uint8)
    pixels[:, 16:48, 16:48] = 255
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(root / "val" / "cat" / "0.png")
    module = data(root, crop=16, resize=32)
    module.setup("validate")
    assert (module.crop, module.resize) == (16, 32)
    batch = module.on_after_batch_transfer(list(module.val_dataloader())[1], 0)
    mean, std = torch.tensor(module.mean).view(3, 1, 1), torch.tensor(module.std).view(3, 1, 1)
    inner = (batch["image"][0] * std + mean)[:, 2:-2, 2:-2]
    torch.testing.assert_close(inner, torch.ones_like(inner))
    assert data(root, crop=224).resize == 256


@pytest.mark.filterwarnings("ignore:.*worker processes in total")  # on a machine with one core
def test_epochs_are_repeatable_and_differ(root):
    def epoch(number: int, **changes) -> dict[str, torch.Tensor]:
        module = data(root, policy="trivialaugment", color=0.3, **changes)
        module.setup("fit")
        loader = module.train_dataloader()
        loader.sampler.set_epoch(number)
        return module.on_after_batch_transfer(next(iter(loader)), 0)

    one = epoch(3)
    assert all(torch.equal(value, one[key]) for key, value in epoch(3, cache=True).items())
    assert all(torch.equal(value, one[key]) for key, value in epoch(3, workers=1).items())
    assert not torch.equal(epoch(4)["image"], one["image"])
    assert not torch.equal(epoch(3, seed=1)["image"], one["image"])


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"crop": 0}, "crop is 0"),
        ({"crop": 64, "resize": 32}, "crop is 64 and resize is 32"),
        ({"scale": (0.0, 1.0)}, "scale is"),
        ({"color": -0.1}, "color is -0.1"),
        ({"aug_repeats": 0}, "aug_repeats is 0; expected 1"),
        ({"resize": 24, "ten_crop": True}, "ten crops need a shorter side larger than the crop"),
        ({"policy": "lightaugment"}, "policy is 'lightaugment'; expected one of randaugment, "),
    ],
)
def test_bad_options_are_named(root, changes, fault):
    with pytest.raises(ValueError, match=fault):
        data(root, **changes)


def test_more_to_a_batch_than_there_is_is_a_clear_error(root):
    module = data(root, batch_size=16)
    module.setup("fit")
    with pytest.raises(ValueError, match="batch_size 16 exceeds the 12 training samples"):
        module.train_dataloader()


def test_before_setup_nothing_is_read(root):
    with pytest.raises(RuntimeError, match="the train split is not read yet"):
        data(root).train_dataloader()


def test_repeated_augmentation_of_one_image_differs(root):
    module = data(root, aug_repeats=4, jitter=0.4, lighting=0.1)
    module.setup("fit")
    (first, *_) = batches = list(module.train_dataloader())
    assert len(batches) == 3
    assert len({index % 12 for index in first["index"].tolist()}) == 1
    assert len(set(first["label"].tolist())) == 1
    assert not torch.equal(first["image"][0], first["image"][1])


def test_ten_crops_are_measured_and_the_centre_is_shown(root):
    module = data(root, ten_crop=True, resize=27)
    module.setup("validate")
    raw = next(iter(module.val_dataloader()))
    batch = module.on_after_batch_transfer(raw, 0)
    assert batch["image"].shape == (2, 10, 3, 24, 24)
    plain = data(root, resize=27)
    plain.setup("validate")
    centre = plain.on_after_batch_transfer(next(iter(plain.val_dataloader())), 0)
    assert torch.equal(batch["image"][:, 4], centre["image"])
    assert torch.equal(batch["label"], centre["label"])
    assert module.whole("val")[Draw(0, 1)]["image"].shape == (3, 24, 24)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval")
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_through_the_trainer(root, quiet_trainer):
    module = Recorder(3)
    trainer = quiet_trainer(max_epochs=2)
    trainer.fit(module, datamodule=data(root, repeat=2))
    assert [epoch for epoch, _ in module.seen()] == [0] * 24 + [1] * 24
    assert sorted(index for _, index in module.seen()[:24]) == list(range(24))


@pytest.mark.data
def test_real_grocery(real_data):
    root = real_data("grocery")
    module = ImageFolderData(str(root), crop=96, workers=0)
    module.setup("fit")
    assert (module.num_classes, len(module.sets["train"]), len(module.sets["val"])) == (81, 2640, 296)
    assert len({label for _, label in module.sets["val"].files}) == 60
    assert next(iter(module.val_dataloader()))["image"].shape == (64, 3, 96, 96)


def test_links_are_followed_once_and_dead_ones_left_out(root):
    (root / "train" / "ant" / "again").symlink_to(root / "train" / "ant")
    (root / "train" / "ant" / "gone.png").symlink_to(root / "nowhere.png")
    assert len(LabelledFolder(root / "train", ("ant", "bee", "cat"))) == 4 + 3 + 5
