"""The page on other libraries has a block for each; that the blocks run is tested with those of all pages."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "ecosystem.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_a_block_for_each_library():
    for library in ("timm", "torchvision", "segmentation_models_pytorch", "dla.hub"):
        assert any(f"import {library}" in block or f"from {library}" in block for block in BLOCKS)
