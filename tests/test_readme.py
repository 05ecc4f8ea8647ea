"""The README keeps its word: its commands run, its Python runs, its table is what the code computes."""

import ast
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import timm
from PIL import Image

import dla
from dla.cli import main
from dla.models.table import table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# The commands that are not run, with the reason. A new one that is neither here nor a `dla` command fails the test.
NOT_RUN = {
    "make demo": "installs; the recipe that it runs is in test_recipes",
    "make test": "is this",
    "pip install -e '.[train]'": "the tests run in such an installation",
}
CUT = [
    "--trainer.accelerator=cpu",
    "--trainer.limit_val_batches=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--data.crop=32",
    "--data.batch_size=2",
]
CUT_FIT = ["--trainer.limit_train_batches=2", "--trainer.check_val_every_n_epoch=1"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    return [line for block in blocks("bash") for line in block.splitlines() if line and not line.startswith("#")]


def needs_absent_weights(text: str) -> bool:
    named = re.findall(r"\bdla\w+\.camvid\b", text)
    return bool(named) and not dla.list_models(pretrained=True)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def make_data(root: Path, classes: int) -> None:
    """Four training and two validation images in SegNet's layout."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for number in range(count):
            save(root / split / f"{number}.png", rng.integers(0, 256, (36, 48, 3), dtype=np.uint8))
            save(root / f"{split}annot" / f"{number}.png", rng.integers(0, classes, (36, 48), dtype=np.uint8))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder in which the README's paths are there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    make_data(tmp_path / "data/camvid", 12)
    make_data(tmp_path / "data/cracks", 2)
    picture = np.random.default_rng(1).integers(0, 256, (45, 61, 3), dtype=np.uint8)
    save(tmp_path / "photo.jpg", picture)
    save(tmp_path / "frames" / "one.png", picture)
    return tmp_path


def run(command: str) -> int:
    """Run one command of the README, training cut to two steps an epoch."""
    words = shlex.split(command)
    words = words[words.index("dla") + 1 :]
    if words[1].endswith(".help"):
        with pytest.raises(SystemExit) as stopped:
            main(words)
        return int(stopped.value.code or 0)
    if words[0] in ("fit", "validate"):
        words += CUT
    if words[0] == "fit":
        # A resumed run has one more epoch to do.
        words += [*CUT_FIT, f"--trainer.max_epochs={2 if '--ckpt_path' in words else 1}"]
    return main(words)


def test_every_command_runs(folder, capsys):
    for command in commands():
        if command in NOT_RUN or needs_absent_weights(command):
            continue
        assert re.match(r"(python -m )?dla ", command), f"unknown command in the README: {command}"
        assert run(command) == 0, f"{command}\n{capsys.readouterr().err}"
    assert {path.name for path in (folder / "out").iterdir()} >= {"one.png", "one_overlay.jpg"}
    run_folder = folder / "runs/camvid_dla46_cup"
    assert {path.name for path in run_folder.iterdir()} >= {"config.yaml", "metrics", "tensorboard", "examples.png"}
    assert {path.name for path in (run_folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


def test_weights_in_the_package():
    if absent := [command for command in commands() if needs_absent_weights(command)]:
        pytest.skip(f"no weights are packaged yet, so not run: {'; '.join(absent)}")
    named = set(re.findall(r"\bdla\w+\.camvid\b", README))
    assert named <= set(dla.list_models(pretrained=True))


def test_commands_that_are_not_run_are_still_there():
    assert set(NOT_RUN) <= set(commands())


@pytest.mark.parametrize("block", [pytest.param(block, id=f"block{i}") for i, block in enumerate(blocks("python"))])
def test_python(block, folder, monkeypatch):
    if needs_absent_weights(block):
        pytest.skip("no weights are packaged yet")
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: create(name, pretrained=False))  # no download
    names: dict = {}
    exec(compile(block, "README.md", "exec"), names)
    for name, shape in re.findall(r"^(\w+) = .*# (\([\d, ]+\))$", block, flags=re.MULTILINE):
        assert tuple(names[name].shape) == ast.literal_eval(shape)


def test_five_lines_of_python():
    lines = blocks("python")[0].split("\n\n")[1].splitlines()
    assert len(lines) <= 5


def test_table():
    computed = [re.split(r"\s{2,}", line.strip()) for line in table().splitlines()[1:]]
    written = [[cell.strip() for cell in row.strip("|").split("|")] for row in re.findall(r"^\| dla.*$", README, re.M)]
    assert written == computed


def test_table_counts_the_ten_networks():
    assert len(re.findall(r"^\| dla", README, re.M)) == 10


def test_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert "docs/figure1.svg" in targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
