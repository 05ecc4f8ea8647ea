"""benchmarks/gpu.sh, which needs a GPU to run: here its commands are printed, and their arguments read."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from dla.benchmark.options import parser
from dla.compare.command import _parser as compare_parser

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore:Precision bf16-mixed:UserWarning")


def commands(out: Path, *parts: str, dla: str = "echo dla") -> list[list[str]]:
    """What the script runs, called in a folder that is not the project's."""
    script = [str(ROOT / "benchmarks" / "gpu.sh"), "out", "data", *parts]
    done = subprocess.run(script, cwd=out, env=os.environ | {"DLA": dla}, check=True, capture_output=True, text=True)
    return [shlex.split(line)[1:] for line in done.stdout.splitlines() if line.startswith("dla ")]


def test_all_commands_are_as_the_program_takes_them(tmp_path, capsys, monkeypatch):
    from dla.tasks.cli import main

    monkeypatch.chdir(ROOT)
    for command, *arguments in commands(tmp_path):
        if command == "benchmark":
            assert str(parser().parse_args(arguments).output).startswith(str(tmp_path))
        elif command == "compare":
            assert Path(compare_parser().parse_known_args(arguments)[0].study).exists()
        else:
            with pytest.raises(SystemExit, check=lambda end: end.code == 0):
                main([command, *arguments, "--print_config"])
            assert f"root: {tmp_path}/data" in capsys.readouterr().out


def test_goes_on(tmp_path):
    (tmp_path / "out" / "grocery").mkdir(parents=True)
    (tmp_path / "out" / "grocery" / "config.yaml").touch()
    assert commands(tmp_path, "curve", "cifar10_dla34", dla="false") == []  # both fail, and so are not done
    first, second, third = commands(tmp_path, "curve", "cifar10_dla34", "grocery")
    assert first[0] == "benchmark"
    assert second[2].startswith("recipes/")
    assert third == ["fit", "--config", str(tmp_path / "out" / "grocery" / "config.yaml"), "--ckpt_path", "last"]
    assert commands(tmp_path, "curve", "cifar10_dla34", "grocery") == []


def test_says_how_it_is_called():
    done = subprocess.run([ROOT / "benchmarks" / "gpu.sh"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "benchmarks/gpu.sh OUT DATA [PART...]" in done.stderr
