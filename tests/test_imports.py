"""Imports point one way, and `import dla` stays light."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "dla"
HEAVY = ("lightning", "timm", "torchvision", "onnx", "matplotlib", "huggingface_hub")
EVERYTHING = {path.stem for path in SOURCE.iterdir() if path.stem[0] != "_"} | {"dla"}  # "dla" is `import dla` itself
# What a part must not import. Where a rule is short, it is because the rest is sorted out by need.
FORBIDDEN = {
    "compare": {"dla", "cli", "predict"},
    "aggregation": EVERYTHING - {"aggregation"},
    "backbones": EVERYTHING - {"backbones", "recompute", "weights"},
    "data": {"compare", "dla", "models", "weights", "tasks", "cli", "predict"},
    "metrics": {"compare", "dla", "models", "weights", "tasks", "cli", "predict"},
    "models": {"compare", "dla", "tasks", "data", "cli", "predict"},
    "hub": {"compare", "tasks", "data", "cli", "predict"},
    "rewire": {"compare", "dla", "models", "tasks", "data", "cli", "predict"},
    "tasks": {"compare", "cli", "predict"},
    "timm": {"compare", "tasks", "data", "cli", "predict"},
    "weights": {"compare", "dla", "models", "tasks", "data", "cli", "predict"},
}


def imported(code: str, package: str) -> Iterator[str]:
    """Full names of the modules that `code`, in `package`, imports, anywhere in it."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: -(node.level - 1) or None] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from dla import models` imports dla.models; `from dla import create_model` imports dla.
            inner = [alias.name for alias in node.names if module == "dla" and alias.name in EVERYTHING]
            yield from (f"dla.{name}" for name in inner)
            if len(inner) < len(node.names):
                yield module


def parts_imported(code: str, package: str) -> set[str]:
    """First-level parts of dla among them; "dla" for the whole."""
    names = [name.split(".") for name in imported(code, package)]
    return {name[1] if len(name) > 1 else "dla" for name in names if name[0] == "dla"}


def files(part: str) -> list[Path]:
    single = SOURCE / f"{part}.py"
    return [single] if single.exists() else sorted((SOURCE / part).rglob("*.py"))


def package_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE.parent).parts[:-1])


@pytest.mark.parametrize("part", FORBIDDEN)
def test_imports_point_one_way(part):
    assert files(part)
    faults = {str(p): parts_imported(p.read_text(), package_of(p)) & FORBIDDEN[part] for p in files(part)}
    assert {path: names for path, names in faults.items() if names} == {}


def test_the_page_names_all_parts_and_each_imports_those_above_it():
    page = (SOURCE.parents[1] / "docs" / "code.md").read_text(encoding="utf-8")
    parts = re.findall(r"\.\./src/dla/(\w+)", page)
    assert sorted(parts) == sorted(EVERYTHING - {"dla", "py"})
    for above, part in enumerate(parts):
        found = set().union(*(parts_imported(path.read_text(), package_of(path)) for path in files(part)))
        assert found - {"dla", part} <= set(parts[:above]), part


@pytest.mark.parametrize(
    "code",
    [
        "import dla.tasks.cli",
        "from dla.tasks import SegmentationTask",
        "from dla import tasks",
        "from ..tasks import SegmentationTask",
        "from .. import tasks",
        "def late():\n    from dla.tasks.cli import main",
    ],
)
def test_a_wrong_import_is_seen(code):
    assert parts_imported(code, "dla.models") == {"tasks"}


def test_importing_the_whole_is_seen():
    assert parts_imported("import dla\nfrom dla import create_model", "dla.data") == {"dla"}


def test_aggregation_needs_torch_alone():
    roots = {name.split(".")[0] for path in files("aggregation") for name in imported(path.read_text(), "dla")}
    assert roots - set(sys.stdlib_module_names) - {"dla"} == {"torch", "jaxtyping"}


def loaded_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return set(result.stdout.split())


def test_import_is_light():
    loaded = loaded_after("import dla")
    assert "torch" in loaded
    assert [name for name in HEAVY if name in loaded] == []


def test_a_heavy_import_is_seen():
    assert "matplotlib" in loaded_after("import matplotlib")
