"""Masks and boundary maps of pictures with a place on the map keep it."""

from pathlib import Path

import pytest
import torch
from band_files import geotiff, noisy_bands, save_bands
from image_files import random_image, save_image
from run_files import save_checkpoint

import dla
from dla.cli import main

TAGS = {
    33550: (0.2, 0.2, 0.0),
    33922: (0.0, 0.0, 0.0, 500000.25, 4649776.5, 0.0),
    34735: (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 32633),
}
PLACE = """\
<PAMDataset>
  <SRS>EPSG:32633</SRS>
  <GeoTransform>500000.25, 0.2, 0.0, 4649776.5, 0.0, -0.2</GeoTransform>
</PAMDataset>
"""


@pytest.fixture
def ortho(tmp_path) -> Path:
    """An aerial picture in colours."""
    colours = {"photometric": "rgb", "planarconfig": "contig"}
    return save_bands(tmp_path / "ortho.tif", random_image(0), extratags=geotiff(TAGS), **colours)


def predict(*inputs: Path, model: str, output: Path) -> int:
    return main(["predict", *map(str, inputs), "--model", model, "--output", str(output), "--device", "cpu"])


def places(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob("*.xml")}


def test_a_mask_lies_where_its_picture_does(ortho, tmp_path):
    photo = save_image(tmp_path / "photo.png", random_image(1))
    assert predict(ortho, photo, model="dla46_cup.camvid", output=tmp_path / "out") == 0
    assert places(tmp_path / "out") == {"ortho.png.aux.xml": PLACE}


def test_both_maps_of_boundaries_lie_there(ortho, tmp_path):
    assert predict(ortho, model="dla46_cup.bsds500", output=tmp_path / "out") == 0
    assert places(tmp_path / "out") == {"ortho.png.aux.xml": PLACE, "ortho_thin.png.aux.xml": PLACE}


def test_a_mask_of_bands_lies_where_they_do(tmp_path):
    torch.manual_seed(0)
    network = dla.create_model("dla46_cida", num_classes=2, in_chans=4)
    facts = {"model": "dla46_cida", "num_classes": 2, "classes": ["soil", "water"], "colors": [[0, 0, 0], [0, 0, 255]]}
    facts |= {"options": {"in_chans": 4}, "bands": [[0, 4000]] * 4, "mean": [0.5] * 4, "std": [0.25] * 4}
    model = save_checkpoint(tmp_path / "best.ckpt", network, **facts)
    values = noisy_bands(random_image(0)[..., 0] > 100, seed=0)
    orientation = (274, "H", 1, 6, True)  # by which bands are not turned
    path = save_bands(tmp_path / "fields.tif", values, extratags=[*geotiff(TAGS), orientation])
    assert predict(path, model=model, output=tmp_path / "out") == 0
    assert places(tmp_path / "out") == {"fields.png.aux.xml": PLACE}


def test_no_place_of_an_earlier_run_is_left(ortho, tmp_path):
    assert predict(ortho, model="dla46_cup.bsds500", output=tmp_path / "out") == 0
    save_image(ortho, random_image(1))
    assert predict(ortho, model="dla46_cup.bsds500", output=tmp_path / "out") == 0
    assert places(tmp_path / "out") == {}


def test_odd_tags_end_in_a_mask_without_a_place(tmp_path):
    tags = geotiff(TAGS | {33550: (0.2,)})
    path = save_bands(tmp_path / "a.tif", random_image(0), photometric="rgb", planarconfig="contig", extratags=tags)
    with pytest.warns(UserWarning, match=f"{path}: what is predicted gets no place on the map"):
        assert predict(path, model="dla46_cup.camvid", output=tmp_path / "out") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.png", "a_overlay.jpg"}


def test_a_name_without_room_for_its_sidecar_is_refused(tmp_path, capsys):
    path = save_image(tmp_path / f"{'a' * 240}.png", random_image(0))
    assert predict(path, model="dla46_cup.bsds500", output=tmp_path / "out") == 2
    assert "its results' names would be longer than file systems take" in capsys.readouterr().err


def test_a_folder_of_the_sidecars_name_is_named(ortho, tmp_path, capsys):
    (tmp_path / "out" / "ortho.png.aux.xml").mkdir(parents=True)
    assert predict(ortho, model="dla46_cup.camvid", output=tmp_path / "out") == 2
    assert "ortho.png.aux.xml: it is a folder; remove it or choose another name" in capsys.readouterr().err
