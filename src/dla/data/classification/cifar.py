"""CIFAR-10 and CIFAR-100: 60,000 images of 32x32, from the publisher's binary files or from folders of pictures.

The publisher's version for Python, which torchvision downloads, is a pickle, and unpickling can run code; so it is not
read here. Its binary version holds the same images.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from dla.data.classification.folders import LabelledFolder, class_folders
from dla.data.classification.labelled import ImageArrays, held_out
from dla.data.loading import read_all
from dla.data.sample import Split
from dla.files import read_text

PIXELS = 3 * 32 * 32
URL = "https://www.cs.toronto.edu/~kriz/"


class Layout(NamedTuple):
    """The files of the publisher's binary version; a record is its labels, a byte each, and the pixels."""

    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    names: str  # file with a class name a line
    labels: int  # per record; the last is the class


LAYOUTS = {
    10: Layout(
        "cifar-10-batches-bin",
        tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        ("test_batch.bin",),
        "batches.meta.txt",
        labels=1,
    ),
    100: Layout("cifar-100-binary", ("train.bin",), ("test.bin",), "fine_label_names.txt", labels=2),
}


def cifar_classes(root: str | Path, count: int) -> tuple[str, ...]:
    """The names of the classes, in the order of their indices.

    Raises:
        FileNotFoundError: `root` holds neither layout.
        ValueError: there are not `count` of them, or `count` is another than 10 and 100.
    """
    if count not in LAYOUTS:
        raise ValueError(f"count is {count}; expected {' or '.join(map(str, LAYOUTS))}, the classes of CIFAR")
    folder = _binary_folder(root, count)
    names = folder / LAYOUTS[count].names if folder else Path(root) / "train"
    classes = tuple(read_text(names).split()) if folder else class_folders(names)
    if len(classes) != count:
        raise ValueError(f"{names} names {len(classes)} classes; CIFAR-{count} has {count}: download it again")
    return classes


def read_cifar(root: str | Path, split: Split, *, count: int = 10) -> ImageArrays:
    """One split of CIFAR-`count`, in memory; val is a tenth of each class of train, the same in any layout.

        root/cifar-10-batches-bin/data_batch_1.bin ...      as unpacked from cifar-10-binary.tar.gz
        root/cifar-100-binary/train.bin ...                 as unpacked from cifar-100-binary.tar.gz
        root/train/CLASS/*.png, root/test/CLASS/*.png

    Args:
        root: Folder in one of these layouts.
        split: "train" and "val" share the training images, 9 to 1; "test" has its own.
        count: Number of classes, 10 or 100.

    Raises:
        FileNotFoundError: `root` holds neither layout, or a file of it is missing.
        ValueError: a file is cut short, an image is of another size, or no class has ten images to train.
    """
    classes = cifar_classes(root, count)
    part = "test" if split == "test" else "train"
    folder = _binary_folder(root, count)
    if folder:
        images, labels = _read_binary(folder, LAYOUTS[count], part, count)
    else:
        images, labels = _read_folders(Path(root) / part, classes)
    if split == "test":
        return ImageArrays(images, labels)
    order = _order(images)
    chosen = torch.empty(len(images), dtype=torch.bool)
    chosen[order] = held_out(labels[order]) == (split == "val")
    return ImageArrays(images[chosen], labels[chosen])


def _order(images: UInt8[Tensor, "n 3 32 32"]) -> Int64[Tensor, " n"]:
    """An order of the images that does not depend on the one in which files hold them: by digests of their pixels."""
    digests = [hashlib.sha256(image.tobytes()).digest() for image in images.numpy()]
    return torch.tensor(sorted(range(len(digests)), key=digests.__getitem__))


def _binary_folder(root: str | Path, count: int) -> Path | None:
    """The folder of the publisher's binary version, None where there are folders of pictures."""
    name = LAYOUTS[count].folder
    for folder in (Path(root) / name, Path(root)):
        if (folder / LAYOUTS[count].names).is_file():
            return folder
    if (Path(root) / "train").is_dir():
        return None
    raise FileNotFoundError(
        f"{root} does not hold CIFAR-{count}: expected {name}/ or train/CLASS/*.png there; "
        f"unpack {URL}cifar-{count}-binary.tar.gz in it; its version for Python is not read, a pickle can run code"
    )


def _read_binary(folder: Path, layout: Layout, part: str, count: int) -> tuple[Tensor, Tensor]:
    records = [_records(folder / name, layout.labels) for name in (layout.test if part == "test" else layout.train)]
    table = torch.from_numpy(np.concatenate(records))
    labels = table[:, layout.labels - 1].long()
    if labels.max() >= count:
        raise ValueError(f"{folder} holds label {int(labels.max())}; expected 0 to {count - 1}: unpack it again")
    return table[:, layout.labels :].reshape(-1, 3, 32, 32).contiguous(), labels


def _records(path: Path, labels: int) -> np.ndarray:
    """The records of a file, (N, labels + 3072)."""
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: unpack the whole archive there")
    content = np.fromfile(path, np.uint8)
    length = labels + PIXELS
    if not content.size or content.size % length:
        raise ValueError(f"{path} has {content.size} bytes, no multiple of {length}: it is cut short, unpack it again")
    return content.reshape(-1, length)


def _read_folders(folder: Path, classes: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    dataset = LabelledFolder(folder, classes)
    samples = read_all(dataset)
    for (path, _), (image, _) in zip(dataset.files, samples, strict=True):
        if image.shape != (3, 32, 32):
            raise ValueError(f"{path} is {image.shape[2]}x{image.shape[1]}; images of CIFAR are 32x32")
    return torch.stack([image.as_subclass(Tensor) for image, _ in samples]), torch.stack([s.label for s in samples])
