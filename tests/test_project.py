"""The project's own files agree with one another."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import dla

ROOT = Path(__file__).parents[1]


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def pinned(tool: str) -> str:
    return re.findall(rf'"{tool}==([^"]+)"', read("pyproject.toml"))[0]


@pytest.mark.parametrize(("repository", "tool"), [("ruff-pre-commit", "ruff"), ("mirrors-mypy", "mypy")])
def test_hooks_run_the_tools_of_make_check(repository, tool):
    repositories = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    (revision,) = [entry["rev"] for entry in repositories if entry["repo"].endswith(repository)]
    assert revision == f"v{pinned(tool)}"


def test_contributing_is_short():
    assert len(read("CONTRIBUTING.md").splitlines()) <= 50


def test_citation():
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["version"] == dla.__version__
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    assert citation["preferred-citation"]["title"] == "Deep Layer Aggregation"


@pytest.mark.parametrize("command", ["make check", "make test"])
def test_automation_runs_both_commands(command):
    steps = [step for job in yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"].values() for step in job["steps"]]
    assert command in [step.get("run") for step in steps]
    assert command in read(".ci/run").splitlines()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_changelog_has_a_place_for_changes():
    assert "## [Unreleased]" in read("CHANGELOG.md")


def test_figure_is_drawn_from_the_structures(tmp_path):
    target = tmp_path / "figure1.svg"
    subprocess.run([sys.executable, ROOT / "docs" / "figure1.py", target], check=True, timeout=120)
    # Texts, not curves: those may differ a little between versions of matplotlib.
    texts = re.findall(r">([^<>]*after the first block)<", target.read_text(encoding="utf-8"))
    assert [int(text.split()[0]) for text in texts] == [1, 7, 3, 3, 3]
    assert texts == re.findall(r">([^<>]*after the first block)<", read("docs/figure1.svg"))
    assert (ROOT / "docs" / "figure1.svg").stat().st_size < 150_000
