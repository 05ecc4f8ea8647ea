"""A shell's commands in the place of Python, by which our programs start others."""

import sys
from pathlib import Path

import pytest


def take_for_python(commands: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the processes that are started as Python run these commands, which are kept in the folder."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\n{commands}")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
