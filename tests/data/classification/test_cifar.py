"""CIFAR from the publisher's binary files and from folders of pictures: the same images, the same split."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import save_image
from PIL import Image

from dla.data import CIFARData
from dla.data.classification.cifar import read_cifar
from dla.data.classification.labelled import held_out

NAMES = tuple(f"class{i}" for i in range(10))


def records(seed: int, count: int, classes: int, labels: int) -> np.ndarray:
    """Rows of labels and pixels, every class equally often."""
    table = np.random.default_rng(seed).integers(0, 256, (count, labels + 3072), dtype=np.uint8)
    table[:, labels - 1] = np.arange(count) % classes
    return table


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    """CIFAR-10 with 5 files of 40 training images, and 20 test images."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    (folder / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")  # the publisher's ends with an empty line
    for i in range(1, 6):
        records(i, 40, 10, 1).tofile(folder / f"data_batch_{i}.bin")
    records(9, 20, 10, 1).tofile(folder / "test_batch.bin")
    return tmp_path


@pytest.fixture
def pictures(binary: Path, tmp_path: Path) -> Path:
    """The same images in folders, where they come in another order."""
    root = tmp_path / "pictures"
    folder = binary / "cifar-10-batches-bin"
    train = np.concatenate(
        [np.fromfile(folder / f"data_batch_{i}.bin", np.uint8).reshape(-1, 3073) for i in range(1, 6)]
    )
    test = np.fromfile(folder / "test_batch.bin", np.uint8).reshape(-1, 3073)
    for split, table in (("train", train), ("test", test)):
        for number, row in enumerate(table):
            path = root / split / NAMES[row[0]] / f"{number * 7 % 199:05}.png"
            save_image(path, row[1:].reshape(3, 32, 32).transpose(1, 2, 0))
    return root


def test_both_layouts_hold_the_same(binary, pictures):
    for split, count in (("train", 180), ("val", 20), ("test", 20)):
        a, b = read_cifar(binary, split), read_cifar(pictures, split)
        assert len(a) == len(b) == count
        assert not torch.equal(a.images, b.images)
        assert contents(a) == contents(b)
    image, label = read_cifar(binary, "test")[3]
    row = np.fromfile(binary / "cifar-10-batches-bin" / "test_batch.bin", np.uint8).reshape(-1, 3073)[3]
    assert torch.equal(image, torch.from_numpy(row[1:].reshape(3, 32, 32)))
    assert label == row[0]


def contents(images):
    """Images and labels, in an order of their own."""
    return sorted((label.item(), image.numpy().tobytes()) for image, label in images)


def test_every_tenth_of_a_class_is_held_out():
    labels = torch.randint(4, (200,))
    chosen = held_out(labels)
    for k in range(4):
        assert chosen[labels == k].nonzero().flatten().tolist() == list(range(9, int((labels == k).sum()), 10))


def test_too_few_to_hold_one_out():
    with pytest.raises(ValueError, match=r"no class has 10 training images, .* or --data.hold_out false"):
        held_out(torch.arange(4).repeat(9))


def test_cifar_100(tmp_path):
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    (folder / "fine_label_names.txt").write_text("\n".join(f"fine{i}" for i in range(100)))
    (folder / "coarse_label_names.txt").write_text("\n".join(f"coarse{i}" for i in range(20)))
    table = records(0, 1000, 100, 2)
    table[:, 0] = table[:, 1] // 5
    table.tofile(folder / "train.bin")
    data = CIFARData(str(tmp_path), count=100, batch_size=30)
    data.setup("fit")
    assert data.num_classes == 100
    assert data.classes[99] == "fine99"
    assert data.sets["train"].labels.bincount().tolist() == [9] * 100
    assert data.sets["val"].labels.bincount().tolist() == [1] * 100
    with pytest.raises(FileNotFoundError, match=r"no file .*test.bin"):
        data.setup("test")


def test_another_number_of_classes_is_refused(binary):
    for read in (CIFARData, partial(read_cifar, split="train")):
        with pytest.raises(ValueError, match="count is 20; expected 10 or 100"):
            read(str(binary), count=20)


def test_batches(binary):
    data = CIFARData(str(binary), batch_size=32)
    data.setup("fit")
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    assert set(batch) == {"image", "label", "index", "epoch"}
    assert (batch["image"].shape, batch["image"].dtype) == ((32, 3, 32, 32), torch.float32)
    assert (batch["label"].shape, batch["label"].dtype) == ((32,), torch.int64)
    whole = data.on_after_batch_transfer(next(iter(data.val_dataloader())), 0)
    mean, std = torch.tensor(data.mean).view(3, 1, 1), torch.tensor(data.std).view(3, 1, 1)
    torch.testing.assert_close(whole["image"][4], (data.sets["val"].images[4] / 255 - mean) / std)
    assert (data.crop, data.resize) == (32, 32)


def test_what_is_broken_is_named(binary, pictures, tmp_path):
    folder = binary / "cifar-10-batches-bin"
    (folder / "test_batch.bin").write_bytes(b"\0" * 5000)
    with pytest.raises(ValueError, match=r"test_batch.bin has 5000 bytes, no multiple of 3073: it is cut short"):
        read_cifar(binary, "test")
    np.full((1, 3073), 10, np.uint8).tofile(folder / "test_batch.bin")
    with pytest.raises(ValueError, match="holds label 10; expected 0 to 9"):
        read_cifar(binary, "test")
    (folder / "batches.meta.txt").write_text("cat\ndog")
    with pytest.raises(ValueError, match=r"batches.meta.txt names 2 classes; CIFAR-10 has 10"):
        CIFARData(str(binary))
    odd = pictures / "test" / "class3" / "odd.png"
    Image.new("RGB", (32, 30)).save(odd)
    with pytest.raises(ValueError, match=r"odd.png is 32x30; images of CIFAR are 32x32"):
        read_cifar(pictures, "test")
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"does not hold CIFAR-10: .*its version for Python is not read"):
        CIFARData(str(tmp_path / "empty"))
    with pytest.raises(ValueError, match="pad is 32; expected 0 to 31"):
        CIFARData(str(pictures), pad=32)


@pytest.mark.data
@pytest.mark.slow
def test_real_cifar(real_data):
    root = real_data("cifar10")
    data = CIFARData(str(root))
    data.setup("fit")
    assert data.classes[:2] == ("airplane", "automobile")
    assert data.sets["train"].labels.bincount().tolist() == [4500] * 10
    assert data.sets["val"].labels.bincount().tolist() == [500] * 10
    pixels = data.sets["train"].images.float().movedim(1, 0).flatten(1) / 255
    torch.testing.assert_close(pixels.mean(1), torch.tensor(data.mean), atol=2e-3, rtol=0)
    torch.testing.assert_close(pixels.std(1), torch.tensor(data.std), atol=2e-3, rtol=0)
