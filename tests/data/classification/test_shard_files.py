"""Samples of a shard, read from its start or by place alike: what counts, and what is refused."""

import io
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from tar_files import CLASSES, damaged, encoded, number, samples, write
from webdataset import TarWriter

from dla.data.classification.shard_files import ShardImages, class_index, is_stream, streamed_shard


def test_formats_names_and_files_that_do_not_count(tmp_path):
    files = {
        "a/one.JPG": encoded(1, "JPEG"),
        "a/one.cls": b"bee",
        "a/one.json": b"{}",
        "a/one.pyd": pickle.dumps(Exploding()),
        "b/two.png": encoded(2),
        "b/two.seg.png": b"no image",
        "b/two.cls": b" 2 ",
        "__meta__": b"no sample",
        "three.cls": b"ant",
        "three.webp": encoded(3, "WEBP"),
        "four.jpeg": encoded(4, "JPEG"),
        "four.cls": b"cat",
        "four.pickle": pickle.dumps(Exploding()),
    }
    path = str(write(tmp_path / "x.tar", files))
    streamed = [stored.decode(stored.image.content) for stored in streamed_shard(path, CLASSES)]
    indexed = ShardImages([path], CLASSES)
    assert len(indexed) == len(streamed) == 4
    for i, sample in enumerate(streamed):
        assert torch.equal(sample.image, indexed[i].image)
        assert sample.label == indexed[i].label == (1, 2, 0, 2)[i]
        assert tuple(sample.image.shape) == (3, 19, 25)
        assert abs(number(sample.image) - (i + 1)) < 1


class Exploding:
    """Stands for a pickle that runs code."""

    def __reduce__(self):
        return (pytest.fail, ("a file was unpickled",))


def test_images_are_upright_and_of_8_bits(tmp_path):
    file, turned = io.BytesIO(), Image.Exif()
    turned[0x0112] = 6  # turn right to look at it
    Image.new("RGB", (25, 19)).save(file, "JPEG", exif=turned)
    deep = io.BytesIO()
    Image.fromarray(np.full((19, 25), 256 * 77 + 5, np.uint16)).save(deep, "PNG")
    path = write(tmp_path / "x.tar", {"a.jpg": file.getvalue(), "a.cls": b"0", "b.png": deep.getvalue(), "b.cls": b"0"})
    first, second = ShardImages([str(path)], CLASSES)[0].image, ShardImages([str(path)], CLASSES)[1].image
    assert tuple(first.shape) == (3, 25, 19)
    assert second.unique().tolist() == [77]


def test_shards_of_the_library_itself_are_read(tmp_path):
    path = str(tmp_path / "x.tar")
    with TarWriter(path) as writer:
        for n in range(3):
            writer.write({"__key__": f"k{n}", "jpg": np.full((9, 9, 3), n / 10, np.float32), "cls": n})
    assert [stored.label for stored in streamed_shard(path, CLASSES)] == [0, 1, 2]
    assert len(ShardImages([path], CLASSES)) == 3


@pytest.mark.parametrize("text", [b"3", b"-1", b"dog", b"", b"\xff\xfe", b"1.0", "²".encode()])
def test_a_bad_label_is_named(tmp_path, text):
    path = str(write(tmp_path / "x.tar", {**samples(0, 2), "k7.png": encoded(1), "k7.cls": text}))
    for read in (lambda: list(streamed_shard(path, CLASSES)), lambda: ShardImages([path], CLASSES)):
        with pytest.raises(ValueError, match=rf"k7.cls in {path} says .*; expected 0 to 2, or the name of a class"):
            read()
    assert class_index(b"2\n", CLASSES, "x") == 2


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ({"a.png": b""}, r"has 1 images and 0 .cls files of key a"),
        ({"a.cls": b"1"}, r"has 0 images and 1 .cls files of key a"),
        ({"a.png": b"", "a.jpg": b"", "a.cls": b"1"}, r"has 2 images and 1 .cls files of key a"),
        ({"a.png": b"", "b.png": b"", "a.cls": b"1"}, r"has 1 images and 0 .cls files of key a"),
        ({"a.0.png": b"", "a.0.cls": b"1"}, r"holds a.0.cls, whose key ends at the first dot: write it without"),
        ({"a.txt": b"x"}, r"no images in .*x.tar: expected KEY.jpg and KEY.cls"),
        ({}, r"no images in .*x.tar"),
    ],
)
def test_incomplete_samples_are_named(tmp_path, files, fault):
    path = str(write(tmp_path / "x.tar", files))
    for read in (lambda: list(streamed_shard(path, CLASSES)), lambda: ShardImages([path], CLASSES)):
        with pytest.raises(ValueError, match=fault):
            read()


@pytest.mark.parametrize(
    "kind", ["cut in an image", "cut in a header", "cut between files", "a broken header", "no tar file", "empty"]
)
def test_a_damaged_shard_is_named(tmp_path, kind):
    path = write(tmp_path / "x.tar", samples(0, 3))
    assert len(list(streamed_shard(str(path), CLASSES))) == 3
    damaged(kind, path)
    for read in (
        lambda: list(streamed_shard(str(path), CLASSES)),
        lambda: list(streamed_shard(f"pipe:cat {path}", CLASSES)),
        lambda: ShardImages([str(path)], CLASSES),
    ):
        with pytest.raises(ValueError, match=r"x.tar (is damaged or cut short|cannot be read as a tar file)"):
            read()


def test_a_command_that_fails_is_named():
    with pytest.raises(ValueError, match=r"pipe:exit 3 cannot be read as a tar file"):
        list(streamed_shard("pipe:exit 3", CLASSES))


@pytest.mark.parametrize(
    ("shard", "stream"),
    [("gs://bucket/a.tar", True), ("pipe:cat a.tar", True), ("C:/data/a.tar", False), ("data/a.tar", False)],
)
def test_a_url_is_no_file_and_a_drive_no_url(shard, stream):
    assert is_stream(shard) == stream
