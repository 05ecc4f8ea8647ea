"""The page on other libraries has a block for each; that the blocks run is tested with those of all pages."""

import importlib
import re
from pathlib import Path

import torch

import dla

PAGE = (Path(__file__).parents[2] / "docs" / "ecosystem.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_a_block_for_each_library():
    for library in ("timm", "torchvision", "segmentation_models_pytorch", "dla.hub"):
        assert any(f"import {library}" in block or f"from {library}" in block for block in BLOCKS)


def test_the_network_of_ones_own_is_fused_as_a_backbone_too():
    (block,) = (block for block in BLOCKS if "@register_model" in block)
    block = block.replace("small", "small_of_the_page")  # timm warns of names that are registered twice
    exec(compile(block, "docs/ecosystem.md", "exec"), {"__name__": __name__})
    assert dla.create_model("small_of_the_page+ida", num_classes=3)(torch.randn(1, 3, 33, 47)).shape == (1, 3, 33, 47)


def test_timm_has_nothing_to_say_of_the_network_of_ones_own(tmp_path, monkeypatch, caplog):
    """Its registry looks into the module, here a file as the page has it."""
    (block,) = (block for block in BLOCKS if "@register_model" in block)
    (tmp_path / "mine_of_the_page.py").write_text(block.replace("small", "small_of_a_file"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("mine_of_the_page")
    dla.create_model("timm/small_of_a_file", num_classes=3)
    dla.create_model("small_of_a_file+ida", num_classes=3)
    assert caplog.messages == []
