"""One run after another, by a program in the place of `dla fit`: what is said meanwhile, and how each ends."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from shell import take_for_python

from dla.compare import train
from dla.compare.runs import plan

EPOCH = """set -e
cat "$5"
mkdir -p "${5%.yaml}/metrics/version_0"
printf 'epoch,step,val/accuracy,time/seconds\\n0,9,0.5,10\\n' > "${5%.yaml}/metrics/version_0/metrics.csv"
"""


@pytest.fixture
def fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a shell's commands in the place of `dla fit --config FILE`; FILE is the fifth word."""

    def fit(commands: str) -> None:
        take_for_python(commands, tmp_path, monkeypatch)

    monkeypatch.setattr("dla.compare.train.POLL", 0.01)
    return fit


def test_the_time_that_is_left(fit, study, finish, tmp_path):
    """Of two runs of three epochs, 10 seconds each; of all four, two are finished."""
    fit(EPOCH)
    runs, said = plan(study, tmp_path / "out"), []
    for run in runs[2:]:
        finish(run, [0.5])
    assert [run.name for run in train.train_all(runs, 3, said.append)] == ["plain, seed 0", "dla, seed 0"]
    assert said == [
        "2 of 4 runs are finished already",
        f"plain, seed 0 (run 1 of 2): starts, {runs[0].log}",
        "plain, seed 0: epoch 1 of 3, 50.0 %; 20 s left, 50 s of all",
        f"dla, seed 0 (run 2 of 2): starts, {runs[1].log}",
        "dla, seed 0: epoch 1 of 3, 50.0 %; 20 s left, 20 s of all",
    ]
    assert [run.state for run in runs] == ["finished"] * 4


def test_a_run_that_goes_on_and_measures_nothing_has_failed(fit, study, tmp_path):
    fit('printenv PYTHONIOENCODING\nseq 13\necho "$@" >&2')
    (run, *_), said = plan(study, tmp_path / "out"), []
    run.last.parent.mkdir(parents=True)
    run.last.touch()
    assert list(train.train_all([run], 3, said.append)) == [run]
    command = f"-m dla fit --config {run.config_file} --ckpt_path {run.last}"
    last = "\n".join(["utf-8", *map(str, range(1, 14)), command])
    assert said == [
        f"plain, seed 0 (run 1 of 1): goes on, {run.log}",
        f"plain, seed 0 failed; the end of {run.log}:\n{last}",
    ]
    assert run.state == "failed"


def test_the_end_of_what_a_run_said_is_shown_that_failed_before_it_had_a_folder(fit, study, tmp_path):
    fit("seq 20")
    (run, *_), said = plan(study, tmp_path / "out"), []
    assert list(train.train_all([run], 3, said.append)) == [run]
    assert said[-1].splitlines()[1:] == [str(number) for number in range(6, 21)]
    assert run.state == "failed"


@pytest.mark.parametrize(("taken", "end"), [("SIG_DFL", signal.SIGTERM), ("SIG_IGN", signal.SIGKILL)])
def test_a_run_that_does_not_stop_by_itself_is_ended(taken, end, monkeypatch):
    monkeypatch.setattr("dla.compare.train.GRACE", 5 if taken == "SIG_DFL" else 0.2)
    program = f"import signal, time; signal.signal(signal.SIGTERM, signal.{taken}); print(flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    with process:
        process.stdout.readline()
        train._end(process)
        assert process.poll() == -end
