"""The studies that are shipped say what they reached, build every row, and compare like with like."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from header import header

from dla.compare.costs import costs, matched
from dla.compare.outcome import Outcome
from dla.compare.report import table
from dla.compare.runs import plan
from dla.compare.study import Study, read_study
from dla.models.stage import STRUCTURES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "studies" / "README.md").read_text(encoding="utf-8")
STUDIES = sorted((ROOT / "studies").glob("*.yaml"))
QUICK = {"digits"}  # whose memory is counted within seconds
LONG = (pytest.mark.slow, pytest.mark.timeout(900))
COUNTED = [pytest.param(path, id=path.stem, marks=() if path.stem in QUICK else LONG) for path in STUDIES]


def section(title: str) -> list[list[str]]:
    """The cells of the table under a heading of the page."""
    text = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)[1]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


def test_there_are_studies():
    assert {path.stem for path in STUDIES} >= {"digits", "figure1_cifar10", "figure1_cifar10_cpu", "peers_cifar10"}


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_header_and_page_agree(path):
    says = header(path.read_text(encoding="utf-8"))
    assert {"command", "machine", "reached"} <= says.keys()
    assert shlex.split(says["command"])[:4] == ["dla", "compare", f"studies/{path.name}", "--output"]
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| [{path.stem}]({path.name}) |")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[2] == f"`{says['command']}`"
    assert cells[-1] in says["reached"]  # how many runs, or "not run"


def with_widths_of_the_page(study: Study) -> Study:
    """The rows with the widths that the page says were found."""
    found = [re.search(r"width ([\d.]+)$", cells[1]) for cells in section(study.title)[2:]]
    rows = [
        row._replace(options={**row.options, "width": float(width[1])}) if width else row
        for row, width in zip(study.rows, found, strict=True)
    ]
    return study._replace(rows=tuple(rows))


@pytest.mark.parametrize("path", COUNTED)
def test_rows_are_built_and_the_page_counts_them(path):
    """Parameters, MACs and memory on the page are what is counted here."""
    study = with_widths_of_the_page(read_study(path))
    rows = [Outcome(row, costs(row, study), {}, ()) for row in study.rows]
    counted = [[cell.strip() for cell in line.strip("|").split("|")][:5] for line in table(study, rows)[2:]]
    assert [cells[:5] for cells in section(study.title)[2:]] == counted
    if study.match:
        (reference,) = [row.costs.parameters for row in rows if row.row.name == study.match.row]
        assert all(abs(row.costs.parameters / reference - 1) <= 0.03 for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_widths_of_the_page_are_found_again(path):
    study = read_study(path)
    assert matched(study).rows == (with_widths_of_the_page(study) if study.match else study).rows


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_configurations_are_what_fit_takes(path, tmp_path, monkeypatch):
    """Parsed, not built: the data may not be there."""
    from lightning import LightningDataModule, LightningModule, Trainer
    from lightning.pytorch.cli import LightningArgumentParser

    import dla.data.classification.modules
    import dla.tasks  # noqa: F401

    parser = LightningArgumentParser()
    parser.add_lightning_class_args(Trainer, "trainer")
    parser.add_lightning_class_args(LightningModule, "model", subclass_mode=True)
    parser.add_lightning_class_args(LightningDataModule, "data", subclass_mode=True)
    parser.add_argument("--seed_everything", type=int)
    for run in plan(read_study(path), tmp_path)[:1]:
        run.config["model"]["init_args"]["num_classes"] = 10  # given by the data
        parser.parse_string(yaml.safe_dump(run.config))


@pytest.mark.parametrize("name", ["figure1_cifar10", "figure1_cifar10_cpu"])
def test_figure_1_is_whole(name):
    study = read_study(ROOT / "studies" / f"{name}.yaml")
    assert {row.options["structure"] for row in study.rows} == set(STRUCTURES)
    assert len({row.network for row in study.rows}) == 1


@pytest.mark.slow
def test_the_study_on_the_page_of_compare(tmp_path):
    page = (ROOT / "docs" / "compare.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    path = tmp_path / "study.yaml"
    path.write_text(block)
    study = read_study(path)
    assert all(costs(row, study).parameters for row in study.rows)
