"""The README and the pages keep their word: their commands run, their Python runs, the table is what is computed."""

import ast
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
from band_files import save_set
from fine_grained_sets import make_cub
from hub_cache import add_to_cache, take_from_cache_alone
from image_files import random_image, save_image, save_truths
from outline_files import box, labelme_shape, save_labelme, save_outlines, save_yolo, yolo_line
from voc_files import LABELMAP, PAINT, drawn, list_voc, save_voc

import dla
from dla.cli import main
from dla.images import read_image
from dla.models.describe import table
from dla.predict import load_predictor

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}
README = PAGES["README.md"]
# The commands that are not run, with the reason. A new one that is neither here nor a `dla` command fails the test.
TAGS = "camvid|bsds500|cifar10"
NOT_RUN = {
    "dla compare studies/digits.yaml --output runs/compare_digits": "takes a minute; tests/compare runs a smaller one",
    "dla compare studies/figure1_cifar10.yaml --output runs/figure1 --dry-run": "tests/compare builds all studies",
    "make demo": "installs; the recipe that it runs is in test_recipes",
    "make test": "is this",
    "pip install -e '.[train]'": "the tests run in such an installation",
}
CUT = [
    "--trainer.accelerator=cpu",
    "--trainer.limit_val_batches=2",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--data.batch_size=2",
    "--data.workers=0",
]
# Pages whose commands take more than ten seconds.
LONG = {"docs/benchmark.md", "docs/boundaries.md", "docs/deploy.md", "docs/imagenet.md"}
CROP = "--data.crop=32"  # not of digits and CIFAR, whose images are small as they are
CUT_FIT = ["--trainer.limit_train_batches=2", "--trainer.check_val_every_n_epoch=1", "--model.lr=0.0001"]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGES[page], flags=re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[str]:
    return [line for block in blocks(page, "bash") for line in block.splitlines() if line and not line.startswith("#")]


def make_data(root: Path, classes: int) -> None:
    """Four training and two validation images in SegNet's layout."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for number in range(count):
            save_image(root / split / f"{number}.png", random_image(number, 36, 48))
            save_image(root / f"{split}annot" / f"{number}.png", rng.integers(0, classes, (36, 48), dtype=np.uint8))


def make_outlines(root: Path) -> None:
    """Images with an outline, as Label Studio, LabelMe and YOLO have them."""
    leaf = {"category_id": 1, "segmentation": [box(3, 4, 20, 9)]}
    images = [(f"images/{number}.png", [leaf]) for number in range(20)]
    save_outlines(root / "leaves" / "result.json", images, categories=["leaf"], folder=root / "leaves")
    save_labelme(root / "cells" / "photos", *[[labelme_shape("cell", [[3, 4], [20, 4], [9, 20]])]] * 20)
    for split, count in (("train", 4), ("val", 2)):
        save_yolo(root / "tools", *[yolo_line(1, 3, 4, 20, 9)] * count, split=split)


def make_voc(root: Path) -> None:
    """Ten images as CVAT exports the masks of a task that is not parted."""
    for number in range(10):
        save_voc(root, f"{number}", number, PAINT[drawn(number)])
    list_voc(root, "default", *map(str, range(10)))
    (root / "labelmap.txt").write_text(LABELMAP)


def make_boundaries(images: Path, truths: Path, names: list[str]) -> None:
    """Images and, as BSDS500 has them, what two annotators drew."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(names):
        save_image(images / f"{name}.jpg", random_image(number, 36, 48))
        save_truths(truths / f"{name}.mat", rng.random((2, 36, 48)) < 0.1)


def make_classes(root: Path, split: str, classes: int, count: int) -> None:
    """`count` images of each class, of the size of CIFAR's."""
    for kind in range(classes):
        for number in range(count):
            save_image(root / split / f"kind{kind}" / f"{number}.png", random_image(count * kind + number, 32, 32))


def make_shards() -> None:
    """As the page says."""
    (script,) = [block for block in blocks("docs/fine_grained.md", "python") if "ShardWriter" in block]
    exec(compile(script, "docs/fine_grained.md", "exec"), {})


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A cache of the hub with the weights that the pages start from."""
    cache = tmp_path_factory.mktemp("hub")
    for name in ("dla102", "tf_efficientnet_lite0"):
        add_to_cache(cache / f"models--timm--{name}.in1k", timm.create_model(name))
    return cache


@pytest.fixture(scope="module")
def pages_folder(tmp_path_factory):
    """A folder in which the paths of all pages are there, which no test may change."""
    root = tmp_path_factory.mktemp("pages")
    for part in ("recipes", "studies"):
        (root / part).symlink_to(ROOT / part)
    data = root / "data"
    make_data(data / "camvid", 12)
    make_data(data / "cracks", 2)
    make_outlines(data)
    make_voc(data / "bridges")
    save_set(data / "fields", train=4, val=2)
    make_classes(data / "fruit", "train", classes=2, count=4)
    make_classes(data / "fruit", "val", classes=2, count=1)
    make_classes(data / "imagenet", "train", classes=2, count=4)
    make_classes(data / "imagenet", "val", classes=2, count=1)
    make_cub(data / "cub")
    make_classes(data / "cifar10", "train", classes=10, count=10)
    for split, names in (("train", ["a", "b"]), ("val", ["c"])):
        make_boundaries(data / f"bsds500/data/images/{split}", data / f"bsds500/data/groundTruth/{split}", names)
        make_boundaries(data / "outlines/images", data / "outlines/truths", names)
        (data / f"outlines/{split}.txt").write_text("\n".join(names))
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(root)
        make_shards()
        for run in ("soft", "thin"):  # boundary maps, and what was measured of them
            picture = np.random.default_rng(2).integers(0, 256, (36, 48), dtype=np.uint8)
            save_image(root / "out" / run / "c.png", picture)
            words = [f"out/{run}", "data/bsds500/data/groundTruth/val", "--output", f"runs/{run}", "--thresholds", "3"]
            assert main(["evaluate-boundaries", *words]) == 0
    picture = random_image(1, 45, 61)
    save_image(root / "photo.jpg", picture)
    save_image(root / "frames" / "one.png", picture)
    assert main(["export", "dla46_c.cifar10", "--format", "onnx", "--output", str(root / "things.onnx")]) == 0
    return root


@pytest.fixture
def folder(tmp_path, monkeypatch, hub, pages_folder):
    """A copy of that folder, in which the pages' commands and Python run."""
    root = shutil.copytree(pages_folder, tmp_path / "pages", symlinks=True)
    monkeypatch.chdir(root)
    take_from_cache_alone(monkeypatch, hub)
    return root


def run(command: str) -> int:
    """Run one command of the README, training cut to two steps an epoch."""
    words = shlex.split(command)
    words = words[words.index("dla") + 1 :]
    if len(words) > 1 and words[1].endswith(".help"):
        with pytest.raises(SystemExit) as stopped:
            main(words)
        return int(stopped.value.code or 0)
    if words[0] in ("fit", "validate"):
        words += CUT if re.search("digits|cifar", command) else [*CUT, CROP]
    if words[0] == "fit":
        # A resumed run has one more epoch to do.
        words += [*CUT_FIT, f"--trainer.max_epochs={2 if '--ckpt_path' in words else 1}"]
    return main(words)


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=[pytest.mark.slow] * (page in LONG)) for page in PAGES if commands(page)],
)
def test_every_command_runs(page, folder, capsys):
    for command in commands(page):
        if command in NOT_RUN:
            continue
        assert re.match(r"(python -m )?dla ", command), f"unknown command in {page}: {command}"
        assert run(command) == 0, f"{command}\n{capsys.readouterr().err}"


def test_weights_in_the_package():
    named = {name for text in PAGES.values() for name in re.findall(rf"\b(?:dla\w+|\w+\+\w+)\.(?:{TAGS})\b", text)}
    assert named
    assert named <= set(dla.list_models(pretrained=True))


def test_commands_that_are_not_run_are_still_there():
    assert set(NOT_RUN) <= {command for page in PAGES for command in commands(page)}


@pytest.mark.parametrize(
    ("page", "block"),
    [pytest.param(page, block, id=f"{page}-{i}") for page in PAGES for i, block in enumerate(blocks(page, "python"))],
)
def test_python(page, block, folder, request):
    if "ncnn" in block or "create_feature_extractor" in block:  # whose tracing makes tensors of sizes
        request.getfixturevalue("unchecked_shapes")
    names: dict = {"__name__": __name__}  # a module that is imported, as timm's registry asks for
    exec(compile(block, page, "exec"), names)
    for name, shape in re.findall(r"^(\w+) = .*# (\([\d, ]+\))$", block, flags=re.MULTILINE):
        assert tuple(names[name].shape) == ast.literal_eval(shape)


def test_a_service_answers_as_predict_does(folder):
    (script,) = [block for block in blocks("docs/deploy.md", "python") if "exif_transpose" in block]
    names: dict = {}
    exec(compile(script, "docs/deploy.md", "exec"), names)
    expected = load_predictor("dla46_c.cifar10").classify(read_image("photo.jpg"))
    np.testing.assert_allclose(names["probabilities"], expected, atol=1e-3)  # Pillow rounds pixels otherwise


def test_five_lines_of_python():
    lines = blocks("README.md", "python")[0].split("\n\n")[1].splitlines()
    assert len(lines) <= 5


def test_table():
    computed = [re.split(r"\s{2,}", line.strip()) for line in list(table())[1:]]
    written = [[cell.strip() for cell in row.strip("|").split("|")] for row in re.findall(r"^\| dla.*$", README, re.M)]
    assert written == computed


def test_table_counts_the_ten_networks():
    assert len(re.findall(r"^\| dla", README, re.M)) == 10


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", PAGES[page])
    assert targets or page != "README.md"
    assert [target for target in targets if not ((ROOT / page).parent / target).exists()] == []
