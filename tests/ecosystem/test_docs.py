"""The page on other libraries keeps its word: each block runs by itself, with the shapes that it says."""

import ast
import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "ecosystem.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_a_block_for_each_library():
    for library in ("timm", "torchvision", "segmentation_models_pytorch", "dla.hub"):
        assert any(f"import {library}" in block or f"from {library}" in block for block in BLOCKS)


@pytest.mark.parametrize("block", [pytest.param(block, id=f"block{i}") for i, block in enumerate(BLOCKS)])
def test_it_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(block, "docs/ecosystem.md", "exec"), names)
    for name, shape in re.findall(r"^(\w+) = .*# (\([\d, ]+\))$", block, flags=re.MULTILINE):
        assert tuple(names[name].shape) == ast.literal_eval(shape)
