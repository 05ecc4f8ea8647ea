"""Every recipe says what it reached, and builds what it names; nothing is trained here."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

ROOT = Path(__file__).parents[1]
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


def header(text: str) -> dict[str, str]:
    """What the comment at the top of a recipe says, by key."""
    top = re.match(r"(#.*\n)*", text)[0]
    return dict(re.findall(r"^# *(\w+): *(\S.*)$", top, flags=re.MULTILINE))


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def data_root(tmp_path):
    """A folder that is CamVid, Cityscapes, BSDS500 and ten classes of images at once, each split with one of each."""
    image, labels = np.zeros((16, 32, 3), np.uint8), np.zeros((16, 32), np.uint8)
    for split in ("train", "val"):
        save(tmp_path / split / "0.png", image)
        save(tmp_path / f"{split}annot" / "0.png", labels)
        save(tmp_path / "leftImg8bit" / split / "ulm" / "ulm_0_0_leftImg8bit.png", image)
        save(tmp_path / "gtFine" / split / "ulm" / "ulm_0_0_gtFine_labelIds.png", labels)
        save(tmp_path / "images" / split / "0.jpg", image)
        (tmp_path / "groundTruth" / split).mkdir(parents=True)
        savemat(tmp_path / "groundTruth" / split / "0.mat", {"groundTruth": [{"Boundaries": labels}]})
        for number in range(10):
            save(tmp_path / split / f"class{number}" / "0.png", np.zeros((32, 32, 3), np.uint8))
    return tmp_path


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
def test_recipe_builds(recipe, build, data_root, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    command = header(recipe.read_text(encoding="utf-8")).get("command", f"dla fit --config {name(recipe)}")
    arguments = [*shlex.split(command)[2:], *ON_THIS_MACHINE, f"--trainer.default_root_dir={tmp_path / 'run'}"]
    if re.search(r"^ +root:", recipe.read_text(encoding="utf-8"), flags=re.MULTILINE):
        arguments.append(f"--data.root={data_root}")
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
