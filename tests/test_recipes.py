"""Every recipe says what it reached, and builds what it names; nothing is trained here."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from fine_grained_sets import make_aircraft, make_cars, make_cub, make_food
from header import header
from hub_cache import add_to_cache, take_from_cache_alone
from image_files import save_image, save_truths
from webdataset import TarWriter

ROOT = Path(__file__).parents[1]
FRONT = (ROOT / "README.md").read_text(encoding="utf-8")
TABLE = (ROOT / "recipes" / "README.md").read_text(encoding="utf-8")
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))
ON_THIS_MACHINE = [
    "--trainer.accelerator=cpu",
    "--trainer.devices=1",
    "--trainer.num_nodes=1",
    "--trainer.strategy=auto",
    "--data.workers=0",
]


def name(recipe: Path) -> str:
    return recipe.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    """A folder that is every set at once, each split with one image; of classes, one or as many as a recipe wants."""
    root = tmp_path_factory.mktemp("data")
    image, labels = np.zeros((16, 32, 3), np.uint8), np.zeros((16, 32), np.uint8)
    for split in ("train", "val"):
        save_image(root / split / "0.png", image)
        save_image(root / f"{split}annot" / "0.png", labels)
        save_image(root / "leftImg8bit" / split / "ulm" / "ulm_0_0_leftImg8bit.png", image)
        save_image(root / "gtFine" / split / "ulm" / "ulm_0_0_gtFine_labelIds.png", labels)
        save_image(root / "images" / split / "0.jpg", image)
        save_truths(root / "groundTruth" / split / "0.mat", [labels])
        for number in range(10):
            save_image(root / split / f"class{number}" / "0.png", np.zeros((32, 32, 3), np.uint8))
            save_image(root / split / "class0" / f"{number}.png", np.zeros((32, 32, 3), np.uint8))  # one is held out
        with TarWriter(f"{root}/{split}-0.tar") as shard:
            shard.write({"__key__": "0", "png": image, "cls": 7})
    for make in (make_cub, make_cars, make_aircraft, make_food):
        make(root)
    return root


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A cache of the hub with weights of the one network that recipes start from."""
    folder = tmp_path_factory.mktemp("hub")
    add_to_cache(folder / "models--timm--dla102.in1k", timm.create_model("dla102"))
    return folder


@pytest.fixture(scope="module")
def lite0(tmp_path_factory):
    """The file of weights that some commands name."""
    path = tmp_path_factory.mktemp("weights") / "lite0.pth"
    torch.save(timm.create_model("tf_efficientnet_lite0").state_dict(), path)
    return path


@pytest.fixture
def build(monkeypatch):
    """What `dla fit` builds of its arguments: the task, the data and the trainer."""
    from dla.tasks import cli

    built = []
    # Lightning's command line runs a method of the subcommand's name, where it has one, in place of the trainer's.
    monkeypatch.setattr(cli.CLI, "fit", lambda self, model, **_: built.append((model, self.datamodule)), raising=False)

    def build(arguments: list[str]):
        assert cli.main(["fit", *arguments]) == 0
        return built.pop()

    return build


def test_there_are_recipes():
    assert RECIPES


@pytest.mark.parametrize("recipe", RECIPES, ids=name)
def test_header(recipe):
    says = header(recipe.read_text(encoding="utf-8"))
    assert {"command", "machine", "reached"} <= says.keys()
    assert says["command"].startswith(f"dla fit --config {name(recipe)}")


def test_header_without_a_line_is_seen():
    assert header("# command: dla fit\n# machine:\nmodel:\n# reached: 60\n") == {"command": "dla fit"}


@pytest.mark.parametrize("recipe", RECIPES, ids=name)
def test_recipe_builds(recipe, build, data_root, hub, lite0, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    take_from_cache_alone(monkeypatch, hub)
    text = recipe.read_text(encoding="utf-8")
    command = header(text).get("command", f"dla fit --config {name(recipe)}")
    command = command.replace(lite0.name, str(lite0))
    arguments = [*shlex.split(command)[2:], *ON_THIS_MACHINE, f"--trainer.default_root_dir={tmp_path / 'run'}"]
    if re.search(r"^ +root:", text, flags=re.MULTILINE):
        arguments.append(f"--data.root={data_root}")
    if "dla.data.ShardsData" in text:
        arguments += [f"--data.{split}={data_root}/{split}-0.tar" for split in ("train", "val")]
    model, data = build(arguments)
    assert model.num_classes == data.num_classes
    for count in ("train_images", "val_images"):  # scenes take a while to make, and two tell as much as a thousand
        if hasattr(data, count):
            setattr(data, count, 2)
    data.setup("fit")
    assert set(data.sets) == {"train", "val"}
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("recipe", RECIPES, ids=name)
def test_table_agrees_with_the_recipe(recipe):
    says = header(recipe.read_text(encoding="utf-8"))
    link = f"[{recipe.stem}]({recipe.relative_to(ROOT / 'recipes').as_posix()})"
    (row,) = [line for line in TABLE.splitlines() if line.startswith(f"| {link} |")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[3] == f"`{says['command']}`"
    assert cells[-1] in says["reached"]  # the number, or "not run"
    assert "TBD" not in "".join(says.values())
    assert "to be filled" not in row


def test_the_front_page_says_what_recipes_reached():
    rows = re.findall(r"^\| `(\w+/\w+)` \|.* ([\d.]+) %.* (\d+) \|$", FRONT, re.M)
    assert len(rows) > 3
    for recipe, reached, minutes in rows:
        says = header((ROOT / "recipes" / f"{recipe}.yaml").read_text(encoding="utf-8"))["reached"]
        assert f"{float(says.split(maxsplit=1)[0]):.1f}" == reached
        assert f" {minutes} minutes" in says
