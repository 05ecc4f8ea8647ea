"""Images in tar files, as WebDataset keeps them: read in a stream, or indexed and read by their place.

    KEY.jpg     an image; or .jpeg, .png, .webp
    KEY.cls     its class as text: the index, or the name

Files of other endings are passed over unread, and nothing is ever unpickled. WebDataset opens the streams and says what
a key is; the tar files are gone through here, because it takes one with a broken header for one that ends there.
"""

import os
import tarfile
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from shutil import which
from typing import Any, NamedTuple
from urllib.parse import urlparse

import torch
from torchvision import tv_tensors

from dla.data.classification.labelled import Labelled
from dla.data.sample import read_pixels

IMAGES = ("jpg", "jpeg", "png", "webp")
LABEL = "cls"


class Entry(NamedTuple):
    """A file in a shard, KEY.SUFFIX: where its content lies, in bytes, and the content where it was read."""

    key: str
    suffix: str
    offset: int
    size: int
    content: bytes = b""


class Stored(NamedTuple):
    """An image in a shard, not decoded yet, and the index of its class."""

    shard: str
    image: Entry
    label: int

    def decode(self, content: bytes) -> Labelled:
        """The image that `content` is; a broken one raises a ValueError that names shard and file."""
        image = read_pixels(f"{self.image.key}.{self.image.suffix} in {self.shard}", content)
        return Labelled(tv_tensors.Image(image), torch.tensor(self.label))


class ShardImages:
    """The images of local shards, in order, each read from its place in the file.

    Args:
        shards: Paths of tar files that are not compressed.
        classes: Names of all classes, in the order of their indices.

    Raises:
        ValueError: a shard is a stream, is damaged or holds no image, or a key lacks image or class.
    """

    def __init__(self, shards: Sequence[str], classes: Sequence[str]) -> None:
        self.images = [stored for shard in shards for stored in indexed_shard(shard, classes)]

    def __len__(self) -> int:
        """The number of images."""
        return len(self.images)

    def __getitem__(self, index: int) -> Labelled:
        """Image number `index`, in the order of the shards."""
        stored = self.images[index]
        with Path(stored.shard).open("rb") as file:
            file.seek(stored.image.offset)
            return stored.decode(file.read(stored.image.size))


def expanded_shards(shards: str) -> tuple[str, ...]:
    """The names that braces stand for, as in train-{0000..0127}.tar; several patterns are joined by a double colon.

    Raises:
        FileNotFoundError: a local file is missing, or the program that reads from a server.
        ValueError: the braces do not match.
    """
    from webdataset.shardlists import expand_urls

    # In a pattern a backslash would hide the character behind it, and on Windows it stands between folders.
    patterns = [part if is_stream(part) else part.replace(os.sep, "/") for part in shards.split("::")]
    try:
        names = tuple(expand_urls("::".join(patterns)))
    except ValueError as error:
        raise ValueError(
            f"{shards} cannot be expanded ({error}); expected braces as in train-{{0000..0127}}.tar"
        ) from None
    for name in names:
        if not is_stream(name) and not Path(name).is_file():
            raise FileNotFoundError(f"no file {name}, which {shards} stands for: correct the pattern or copy it there")
    remote = next((name for name in names if name.startswith(("http:", "https:"))), None)
    if remote and which("curl") is None:
        raise FileNotFoundError(
            f"{remote} is read by curl, which is not installed: install it, or copy the shards here"
        )
    return names


def is_stream(shard: str) -> bool:
    """Whether a shard is no local file but what a URL or a command (pipe:) gives; a single letter is a drive."""
    return len(urlparse(shard).scheme) > 1


def streamed_shard(shard: str, classes: Sequence[str]) -> Iterator[Stored]:
    """The images of a shard in order, with their contents; it may be a local file, http(s): or pipe:, even compressed.

    Raises:
        ValueError: it cannot be read, is damaged or holds no image, or a key lacks image or class.
    """
    from webdataset.gopen import gopen, set_options

    file = gopen(shard) if is_stream(shard) else Path(shard).open("rb")  # noqa: SIM115, closed below
    try:
        yield from _stored(_entries(file, shard, stream=True), shard, classes)
    finally:
        # A command that is left early ends by a signal, which is no error. One that fails leaves a tar file that is
        # cut short, which is.
        set_options(file, ignore_errors=True)
        file.close()


def indexed_shard(shard: str, classes: Sequence[str]) -> list[Stored]:
    """The images of a local shard in order, without their contents.

    Raises:
        ValueError: it is a stream, is damaged or holds no image, or a key lacks image or class.
    """
    if is_stream(shard):
        raise ValueError(
            f"{shard} is no local file: val and test are read by place, so that each image counts once in any number "
            "of processes; copy these shards to a disk"
        )
    with Path(shard).open("rb") as file:
        return list(_stored(_entries(file, shard, stream=False), shard, classes))


def class_index(text: bytes, classes: Sequence[str], where: str) -> int:
    """The index that a `.cls` file says, by number or by name; digits are always a number.

    Raises:
        ValueError: there is no such class; `where` names the file.
    """
    word = text.decode("utf-8-sig", errors="replace").strip()
    if word.isdecimal() and int(word) < len(classes):
        return int(word)
    if not word.isdecimal() and word in classes:
        return classes.index(word)
    raise ValueError(f"{where} says {word[:40]!r}; expected 0 to {len(classes) - 1}, or the name of a class")


def _entries(file: Any, shard: str, *, stream: bool) -> Iterator[Entry]:
    """The images and classes in a shard; of a stream with the contents of both, else with those of the classes."""
    from webdataset.tariterators import base_plus_ext

    try:
        with tarfile.open(fileobj=file, mode="r|*" if stream else "r:") as archive:
            for member in archive:
                key, suffix = base_plus_ext(member.name)
                suffix = (suffix or "").lower()
                if member.isfile() and (suffix in (LABEL, *IMAGES) or suffix.endswith(f".{LABEL}")):
                    found = archive.extractfile(member) if stream or suffix == LABEL else None
                    content = found.read() if found else b""
                    yield Entry(key, suffix, member.offset_data, member.size, content)
            # Two empty blocks end an archive. tarfile has read one, if it did not stop for something else.
            whole = archive.fileobj.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)
    except (tarfile.TarError, OSError, EOFError) as error:
        form = "a tar file" if stream else "a tar file that is not compressed"
        raise ValueError(f"{shard} cannot be read as {form} ({error}): make or download it again") from None
    if not whole:
        raise ValueError(f"{shard} is damaged or cut short, it has no end of an archive: make or download it again")


def _stored(entries: Iterator[Entry], shard: str, classes: Sequence[str]) -> Iterator[Stored]:
    """Each image with its class; the files of a key stand one after the other."""
    empty = True
    for key, group in groupby(entries, key=lambda entry: entry.key):
        files = list(group)
        labels = [file for file in files if file.suffix == LABEL]
        images = [file for file in files if file.suffix in IMAGES]
        if not labels and not images:  # but classes of longer endings, which is fine beside these
            raise ValueError(
                f"{shard} holds {key}.{files[0].suffix}, whose key ends at the first dot: write it without dots"
            )
        if len(labels) != 1 or len(images) != 1:
            raise ValueError(
                f"{shard} has {len(images)} images and {len(labels)} .cls files of key {key}; expected one of each, "
                f"one after the other, and images to end in .{', .'.join(IMAGES)}"
            )
        empty = False
        yield Stored(shard, images[0], class_index(labels[0].content, classes, f"{key}.cls in {shard}"))
    if empty:
        raise ValueError(f"no images in {shard}: expected KEY.jpg and KEY.cls, one after the other")
