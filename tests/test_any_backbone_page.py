"""The page on backbones and its example keep their word: the counts and the names are those of now."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from dla.models import DECODERS
from dla.models.describe import describe
from dla.models.tried import CHECKS, FAMILIES

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "any_backbone.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "examples" / "any_backbone.py"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_three_lines_put_ida_on_a_backbone():
    assert len([line for line in BLOCKS[0].splitlines() if line]) == 3
    assert "convnext_tiny" in BLOCKS[0]


def test_the_counts_are_those_of_the_code():
    counts = re.findall(r"^    (convnext_tiny:.*|  +[\d,]+ parameters.*|\+.*)$", PAGE, flags=re.MULTILINE)
    assert "\n".join(counts) == describe("convnext_tiny", list(DECODERS), 64, None, 224)


def test_every_backbone_that_is_tried_has_its_line():
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if "| yes |" in line]
    assert {row[0]: row[1] for row in rows} == FAMILIES
    assert {len(row) for row in rows} == {5 + len(CHECKS)}


def test_the_pictures_are_drawn_by_their_script(tmp_path):
    drawn = [tmp_path / "wraps_maps.svg", tmp_path / "wraps_blocks.svg"]
    subprocess.run([sys.executable, ROOT / "docs" / "contracts.py", *drawn], check=True, timeout=120)
    for path in drawn:
        texts, kept = (re.findall(r">([^<>]+)</text>", p.read_text()) for p in (path, ROOT / "docs" / path.name))
        assert texts == kept


@pytest.mark.slow
def test_the_example_prints_what_it_says():
    source = EXAMPLE.read_text(encoding="utf-8")
    said = [line.removeprefix("# ") for line in source.rstrip().splitlines()[-3:]]
    done = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.splitlines() == said
    assert len([line for line in source.splitlines() if line]) <= 25
