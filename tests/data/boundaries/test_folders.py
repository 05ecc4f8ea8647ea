"""Boundary sets of one's own: images beside truths, .mat or PNG, paired by stem, all or those of a list."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import save_annotators
from PIL import Image
from scipy.io import loadmat

from dla.data import BoundaryFolders


def drawn(path: Path) -> np.ndarray:
    if path.suffix == ".png":
        with Image.open(path) as file:
            return np.array(file)[None] != 0
    cell = loadmat(path, simplify_cells=True)["groundTruth"]
    return np.stack([annotator["Boundaries"] for annotator in cell]) == 1


def read(root: Path, names: str | None = None) -> BoundaryFolders:
    return BoundaryFolders(root / "images", root / "truths", None if names is None else root / names)


def test_pairs_by_stem_whatever_the_format(own_boundaries: Path) -> None:
    dataset = read(own_boundaries)
    assert len(dataset) == 4
    assert [len(dataset[number].truths) for number in range(4)] == [1, 1, 4, 5]
    for number, suffix in enumerate(("png", "png", "mat", "mat")):
        assert np.array_equal(dataset[number].truths, drawn(own_boundaries / "truths" / f"{number}.{suffix}"))
        assert dataset[number].image.shape == (3, 30, 40)


def in_folders(root: Path) -> None:
    """Each truth in a folder of its name instead, with a PNG of each annotator."""
    for path in sorted((root / "truths").iterdir()):
        save_annotators(root / "people" / path.stem, drawn(path))
    shutil.rmtree(root / "truths")
    (root / "people").rename(root / "truths")


def test_annotators_may_have_a_png_each(own_boundaries: Path) -> None:
    expected = [truths for _, truths in map(read(own_boundaries).__getitem__, range(4))]
    in_folders(own_boundaries)
    found = [truths for _, truths in map(read(own_boundaries).__getitem__, range(4))]
    assert [len(truths) for truths in found] == [1, 1, 4, 5]
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    shutil.rmtree(own_boundaries / "truths" / "2")
    with pytest.raises(
        FileNotFoundError, match=r"images/2.JPG has no truth: .* a folder 2 with a PNG of each annotator;"
    ):
        read(own_boundaries)


def test_a_list_says_which_and_in_which_order(own_boundaries: Path) -> None:
    (own_boundaries / "val.txt").write_text("3\n\n  1\r\n")
    dataset = read(own_boundaries, "val.txt")
    assert len(dataset) == 2
    assert np.array_equal(dataset[0].truths, drawn(own_boundaries / "truths" / "3.mat"))
    assert np.array_equal(dataset[1].truths, drawn(own_boundaries / "truths" / "1.png"))


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("1\n7\n", FileNotFoundError, r"val.txt lists 7, but .*images holds no image of that name"),
        ("1\n1.jpg\n", FileNotFoundError, r"lists 1.jpg, but .* without folder and suffix"),
        ("1\n2\n1\n", ValueError, r"val.txt lists 1 more than once"),
        ("\n", ValueError, r"val.txt lists no image; expected one name a line"),
        ("\xe9\n", ValueError, r"val.txt cannot be read as text"),
    ],
)
def test_a_wrong_list_is_named(own_boundaries: Path, content: str, error: type[Exception], message: str) -> None:
    (own_boundaries / "val.txt").write_text(content, encoding="latin-1")
    with pytest.raises(error, match=message):
        read(own_boundaries, "val.txt")


def test_what_is_missing_is_named(own_boundaries: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no list .*train.txt: expected a file with the name of one"):
        read(own_boundaries, "train.txt")
    (own_boundaries / "truths" / "2.mat").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"images/2.JPG has no truth: expected .*truths/2.mat or .png, or, .* add it"
    ):
        read(own_boundaries)
    (own_boundaries / "val.txt").write_text("0\n3\n")
    assert len(read(own_boundaries, "val.txt")) == 2


def test_two_truths_of_one_image_are_named(own_boundaries: Path) -> None:
    (own_boundaries / "truths" / "9.png").rename(own_boundaries / "truths" / "3.png")
    with pytest.raises(ValueError, match=r"3.mat and .*3.png have one name"):
        read(own_boundaries)


def test_a_broken_truth_is_named(own_boundaries: Path) -> None:
    (own_boundaries / "truths" / "3.mat").write_bytes(b"no truth")
    with pytest.raises(ValueError, match=r"truths/3.mat cannot be read"):
        read(own_boundaries)[3]
