"""Ground truth of boundaries: BSDS `.mat` files, PNG images, and folders of them."""

import numpy as np
import pytest
from image_files import save_annotators, save_truths
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csc_matrix

from dla.data.boundaries.truth import list_truths, read_truth


def drawn(seed: int, shape: tuple[int, int] = (7, 9)) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) < 0.3


@pytest.mark.parametrize("annotators", [1, 3])
def test_every_annotator_of_a_mat_file(tmp_path, annotators):
    maps = [drawn(seed) for seed in range(annotators)]
    save_truths(tmp_path / "a.mat", maps)
    truth = read_truth(tmp_path / "a.mat")
    assert truth.dtype == bool
    np.testing.assert_array_equal(truth, np.stack(maps))


def test_maps_may_be_sparse_as_sbd_keeps_them(tmp_path):
    maps = [drawn(seed) for seed in range(2)]
    cells = np.empty((1, 2), dtype=object)
    for index, boundaries in enumerate(maps):
        cells[0, index] = {"Boundaries": csc_matrix(boundaries.astype(float))}
    savemat(tmp_path / "a.mat", {"groundTruth": cells})
    np.testing.assert_array_equal(read_truth(tmp_path / "a.mat"), np.stack(maps))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
def test_a_png_is_one_annotator(tmp_path, mode):
    image = Image.fromarray(drawn(0).astype(np.uint8) * 255)
    if mode == "P":
        image = Image.fromarray((~drawn(0)).astype(np.uint8))  # the first colour is white, as tools may choose
        image.putpalette([255] * 3 + [0] * 765)
    (image if mode == "P" else image.convert(mode)).save(tmp_path / "a.PNG")
    np.testing.assert_array_equal(read_truth(tmp_path / "a.PNG"), drawn(0)[None])


def test_black_lines_on_white_are_refused(tmp_path):
    Image.fromarray((~drawn(0)).astype(np.uint8) * 255).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png marks \d\d% of its pixels.* as boundary: .*invert black lines"):
        read_truth(tmp_path / "a.png")


def test_black_lines_on_transparent_are_refused(tmp_path):
    image = Image.new("LA", (9, 7))
    image.putalpha(Image.fromarray(drawn(0).astype(np.uint8) * 255))
    image.save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png draws by its transparency, in black: save it as white lines"):
        read_truth(tmp_path / "a.png")


def test_annotators_of_different_sizes_are_refused(tmp_path):
    save_truths(tmp_path / "a.mat", [drawn(0), drawn(0, (9, 7))])
    with pytest.raises(ValueError, match=r"a\.mat holds maps of the shapes \[\(7, 9\), \(9, 7\)\]"):
        read_truth(tmp_path / "a.mat")


def test_files_that_are_no_truth_are_named(tmp_path):
    savemat(tmp_path / "other.mat", {"x": np.eye(3)})
    savemat(tmp_path / "nobody.mat", {"groundTruth": np.empty((1, 0), dtype=object)})
    (tmp_path / "broken.mat").write_bytes(b"no")
    (tmp_path / "broken.png").write_bytes(b"no")
    (tmp_path / "a.txt").touch()
    for name in ("other.mat", "nobody.mat", "broken.mat", "broken.png", "a.txt"):
        with pytest.raises(ValueError, match=name):
            read_truth(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"no ground truth .*none\.mat"):
        read_truth(tmp_path / "none.mat")


def test_what_scipy_does_not_read_says_how_to_save_it(tmp_path):
    (tmp_path / "new.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + bytes([0, 2]) + b"IM")
    with pytest.raises(ValueError, match=r"new\.mat is a MATLAB 7\.3 file: save it again with the option -v7"):
        read_truth(tmp_path / "new.mat")


def test_a_folder_is_listed_by_stem(tmp_path):
    for name in ("b.mat", "a.png", "c.PNG", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "d.png").mkdir()
    assert list_truths(tmp_path) == {"a": tmp_path / "a.png", "b": tmp_path / "b.mat", "c": tmp_path / "c.PNG"}


def test_a_folder_has_a_png_of_each_annotator(tmp_path):
    maps = {name: [drawn(seed) for seed in range(count)] for name, count in (("b", 1), ("a.1", 3))}
    for name in maps:
        save_annotators(tmp_path / name, maps[name])
    (tmp_path / "b" / "._0.png").write_bytes(b"of macOS")
    (tmp_path / ".thumbnails").mkdir()
    (tmp_path / ".thumbnails" / "a.png").touch()
    (tmp_path / "notes").mkdir()
    assert list_truths(tmp_path) == {"a.1": tmp_path / "a.1", "b": tmp_path / "b"}
    for name in maps:
        np.testing.assert_array_equal(read_truth(tmp_path / name), np.stack(maps[name]))
    save_annotators(tmp_path / "c", [drawn(0), drawn(0, (9, 7))])
    with pytest.raises(ValueError, match=r"c holds maps of the shapes \[\(7, 9\), \(9, 7\)\]; .*PNGs of one image"):
        read_truth(tmp_path / "c")
    with pytest.raises(FileNotFoundError, match=r"no \.png file in .*notes"):
        read_truth(tmp_path / "notes")


def test_folders_that_cannot_be_paired_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        list_truths(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=f"file in {tmp_path}"):
        list_truths(tmp_path)
    (tmp_path / "a.png").touch()
    (tmp_path / "a.mat").touch()
    with pytest.raises(ValueError, match=r"a\.mat and .*a\.png have one name"):
        list_truths(tmp_path)
