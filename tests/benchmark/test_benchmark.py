"""`dla benchmark` in real processes: small networks, real engines, what fails, and what becomes of the processes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from rich.console import Console
from run_files import read_rows
from shell import take_for_python
from torch._subclasses import FakeTensorMode

from dla.benchmark import work
from dla.benchmark.command import _jobs, main
from dla.benchmark.costs import Costs
from dla.benchmark.job import INFERENCE, PEAK, TRAINING, Job, Row, rows_of
from dla.benchmark.options import parser
from dla.benchmark.peak import peak
from dla.benchmark.picture import draw
from dla.benchmark.process import JobError, Process
from dla.benchmark.report import Session, figures, tables
from dla.benchmark.rounds import Measured, Peak, measure
from dla.benchmark.worker import timed

SMALL = ["--size", "64x96", "--threads", "1", "--rounds", "2", "--seconds", "0.02"]


def rows(folder: Path) -> list[dict[str, str]]:
    return read_rows(folder / "results.csv")


def test_calls_in_a_row_share_their_time():
    calls: list[float] = []

    def call() -> None:
        time.sleep(0.001)
        calls.append(time.perf_counter())

    times = timed(call, 0.02, "cpu", in_a_row=5)
    assert len(calls) == 1 + 5 * len(times)
    assert 5 * sum(times) >= 0.02
    assert 5 * sum(times[:-1]) < 0.02


@pytest.mark.parametrize(("device", "expected"), [("cpu", 1), ("cuda", 8)])
def test_a_gpus_peak_is_not_that_of_waiting_for_it(device, expected, monkeypatch):
    monkeypatch.setattr("dla.benchmark.peak.now", lambda device: 0.0)
    with FakeTensorMode():  # without a GPU, and without computing
        assert work._peak(Job(PEAK, device=device)).in_a_row == expected


def test_a_product_and_a_copy_are_counted(monkeypatch):
    monkeypatch.setattr("dla.benchmark.peak.MATRIX", 256)
    (product, copy), facts = peak("cpu", torch.float32)
    assert facts == {"flops": 2 * 256**3, "bytes": 2 * copy().nbytes}  # read and written
    assert product().shape == (256, 256)


def test_a_product_of_a_type_that_a_processor_emulates_is_small(monkeypatch):
    monkeypatch.setattr("dla.benchmark.peak.MATRIX", 256)
    monkeypatch.setattr("dla.benchmark.peak._seconds", lambda call: 1.0)
    assert peak("cpu", torch.bfloat16)[1]["flops"] == 2 * 32**3


class Prepared:
    """A process whose calls take as long as the test says, in two rounds; dla60's ends in the second."""

    def __init__(self, *_):
        pass

    def prepare(self, job):
        self.job, self.rounds = job, [iter(([1.0, 2.0, 9.0], [4.0])), iter(([5.0], [3.0]))]
        return {"flops": 60, "bytes": 12}

    def measure(self, call, _):
        times = next(self.rounds[call])
        if times == [4.0] and self.job.model == "dla60":
            raise JobError("its process ended")
        return times

    def end(self):
        pass


JOBS = [Job(INFERENCE, name, "plain") for name in ("dla34", "dla60")]


def test_the_peak_is_the_fastest_round_of_the_product_and_of_the_copy(monkeypatch):
    monkeypatch.setattr("dla.benchmark.rounds.Process", Prepared)
    assert measure(JOBS, 2, 1.0, Console(quiet=True))[1] == Peak(30, 4)


def test_a_process_that_ends_is_a_row_that_says_so(monkeypatch):
    monkeypatch.setattr("dla.benchmark.rounds.Process", Prepared)
    rows = measure(JOBS, 2, 1.0, Console(quiet=True))[0]
    assert [(row.rounds, row.error) for row in rows] == [([2.0, 4.0], ""), ([], "its process ended")]


def test_without_the_peak_there_is_no_table(monkeypatch):
    def ended(*_):
        raise JobError("its process ended")

    monkeypatch.setattr("dla.benchmark.rounds.Process", Prepared)
    monkeypatch.setattr(Prepared, "measure", ended)
    with pytest.raises(JobError, match=r"^the machine's peak cannot be measured: its process ended$"):
        measure(JOBS, 1, 1.0, Console(quiet=True))


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Puts a shell's commands in the place of the program that does a job."""
    processes = []

    def program(commands: str) -> Process:
        take_for_python(commands, tmp_path, monkeypatch)
        processes.append(Process(3, tmp_path / "log"))
        return processes[0]

    yield program
    processes[0].end()


@pytest.mark.parametrize(
    ("commands", "message"),
    [
        ("exit 3", "its process ended with exit code 3"),
        ("echo first >&2; echo no memory >&2; exit 3", "its process ended with exit code 3: no memory"),
        ("kill -9 $$", "its process ended by SIGKILL"),
    ],
)
def test_how_a_process_ended(commands, message, program):
    with pytest.raises(JobError, match=f"^{message}$"):
        program(commands).prepare(JOBS[0])


def test_a_process_has_the_threads_of_its_job(program):
    process = program('read job; echo "{\\"threads\\": $OMP_NUM_THREADS}"; exec sleep 60')
    assert process.prepare(JOBS[0]) == {"threads": 3}


def possible(row: dict[str, str]) -> bool:
    return not row["error"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A benchmark of two engines, of one that is not there, of training, and of a network that takes no such images."""
    folder = tmp_path_factory.mktemp("benchmark") / "out"
    networks = ["dla46_c", "timm/pit_ti_224=plain"]
    arguments = [*networks, "--engines", "plain,eager,tensorrt", "--batch", "3", "--training", "2"]
    assert main([*arguments, *SMALL, "--output", str(folder)]) == 0
    return folder


@pytest.mark.slow
def test_every_engine_and_every_way_to_train_is_a_row(measured):
    ours = [row for row in rows(measured) if row["model"] == "dla46_c"]
    found = [(row["work"], row["engine"], row["batch"], row["recompute"]) for row in ours]
    engines = [("inference", engine, "3", "") for engine in ("plain", "eager", "tensorrt")]
    assert found == [*engines, ("training", "", "2", ""), ("training", "", "2", "64")]


@pytest.mark.slow
def test_figures_agree_with_the_rounds(measured):
    for row in filter(possible, rows(measured)):
        rounds = [float(number) for number in row["rounds_ms"].split()]
        assert len(rounds) == 2
        assert min(rounds) > 0
        assert float(row["milliseconds"]) == pytest.approx(sum(rounds) / 2, rel=1e-3)
        assert float(row["images_per_second"]) == pytest.approx(
            1000 * int(row["batch"]) / float(row["milliseconds"]), rel=1e-3
        )
        assert float(row["low"]) <= float(row["milliseconds"]) <= float(row["high"])


@pytest.mark.slow
def test_engines_are_compared_with_the_network(measured):
    differences = {row["engine"]: float(row["difference"]) for row in rows(measured)[:2]}
    assert differences["plain"] == 0
    assert 0 < differences["eager"] < 1e-4


@pytest.mark.slow
def test_recomputing_needs_less_memory(measured):
    kept, recomputing = (float(row["memory_mib"]) for row in rows(measured) if row["memory_mib"])
    assert recomputing < 0.7 * kept


@pytest.mark.slow
def test_the_table_says_on_what_and_how(measured):
    table = (measured / "table.md").read_text()
    for said in ("- command: `dla benchmark dla46_c", "- device: ", "- threads: 1 of ", "torch 2.", "GFLOP/s", "GB/s"):
        assert said in table
    assert "| dla46_c | 1,301,400 | 0.071 G |" in table
    assert table.count("| dla46_c | eager | 3 |") == 1
    assert (measured / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_long_calls_have_no_powers_of_ten():
    job = Job("inference", "dla34", "plain")
    row = Measured(Row(job), [12.3456, 0.00123456, 100.0], {"difference": 0.0})
    cells = tables(Session([row], Peak(1e12, 1e12), {"dla34": Costs(1, 1, 1, 1, True)}, {}))[-1].split(" | ")
    assert cells[3:5] == ["12350", "1.235 - 100000"]


@pytest.mark.parametrize(
    ("work", "precision", "shares"),
    [(INFERENCE, "float32", (0.4, 0.5)), (INFERENCE, "bfloat16", (0.4, 0.25)), (TRAINING, "float32", (1.2, 1.5))],
)
def test_shares_of_the_peak(work, precision, shares):
    """Of two images at 100 MACs and 20 numbers of maps each, and 10 of weights; three times as much in training."""
    row = Measured(Row(Job(work, "dla34", batch=2, precision=precision)), [3.0, 0.5, 1.0], {})
    found = figures(row, Costs(1, 100, 10, 20, True), Peak(1000, 400))
    assert (found.of_matmul, found.of_copy) == pytest.approx(shares)


def test_one_round_has_no_spread(tmp_path):
    job = Job("inference", "dla34", "plain", batch=3)
    rows = [Measured(Row(job), [second], {"difference": 0.0}) for second in (0.0337, 0.0239, 0.0417, 0.0111, 0.0573)]
    facts = {"device": "Abacus", "threads": "1"}
    draw(tmp_path / "x.png", Session(rows, Peak(1e12, 1e12), {"dla34": Costs(1, 1, 1, 1, True)}, facts))
    assert (tmp_path / "x.png").exists()


def test_a_system_without_signals_and_groups_of_processes(tmp_path, monkeypatch):
    """As Windows."""
    (tmp_path / "sitecustomize.py").write_text("import os\ndel os.setpgid, os.killpg\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(subprocess.Popen, "kill", lambda process: process.send_signal(9))
    monkeypatch.delattr(os, "killpg")
    for name in ("SIGSTOP", "SIGCONT", "SIGKILL"):
        monkeypatch.delattr(signal, name)
    assert main(["dla46_c", "--engines", "plain", *SMALL, "--output", str(tmp_path / "out")]) == 0
    assert all(map(possible, rows(tmp_path / "out")))


def test_what_was_not_counted_has_no_shares():
    row = Measured(Row(Job("inference", "dla34", "plain")), [1.0], {"difference": 0.0})
    session = Session([row], Peak(1e12, 1e12), {"dla34": Costs(1, 0, 0, 0, True)}, {})
    assert tables(session)[-1].endswith("| 1.0 | not counted | not counted | 0.0e+00 |")


def test_an_interrupt_while_drawing_says_what_is_there(tmp_path, monkeypatch, capsys):
    def interrupt(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    row = Measured(Row(Job("inference", "dla34", "plain")), [1.0], {"difference": 0.0})
    session = Session([row], Peak(1e12, 1e12), {"dla34": Costs(1, 1, 1, 1, True)}, {})
    monkeypatch.setattr("dla.benchmark.command._measured", lambda *_: session)
    monkeypatch.setattr("dla.benchmark.command.draw", interrupt)
    assert main(["dla34", "--output", str(tmp_path)]) == 130
    assert f"interrupted; all but the picture is written to {tmp_path}" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"table.md", "results.csv"}


@pytest.mark.slow
def test_what_an_engine_cannot_do_is_a_row_that_says_why(measured):
    (tensorrt,) = [row for row in rows(measured) if row["error"] and row["model"] == "dla46_c"]
    assert tensorrt["engine"] == "tensorrt"
    assert not tensorrt["milliseconds"]
    assert tensorrt["error"].startswith("DeployError: onnxruntime has no TensorrtExecutionProvider here")
    assert "| dla46_c | tensorrt | 3 | not possible: DeployError" in (measured / "table.md").read_text()


@pytest.mark.slow
def test_a_network_that_takes_no_such_images_is_a_row_too(measured):
    found = [row for row in rows(measured) if row["model"].startswith("timm/")]
    assert [row["work"] for row in found] == ["inference", "training"]
    assert all("must match the size" in row["error"] for row in found)
    assert "| timm/pit_ti_224 | 4,847,272 | not counted | not counted |" in (measured / "table.md").read_text()


def test_a_folder_that_cannot_be_written_to_is_found_before(tmp_path, capsys):
    (tmp_path / "out" / "results.csv").mkdir(parents=True)
    assert main(["dla46_c", "--output", str(tmp_path / "out")]) == 2
    found = capsys.readouterr()
    assert "results.csv: it is a folder; remove it or choose another name" in found.err
    assert not found.out


def test_a_row_is_called_by_its_engine_or_by_what_training_keeps():
    training = Job(TRAINING, "dla34", recompute=(None, 64))
    jobs = [Job(INFERENCE, "dla34", "ncnn"), training, training._replace(compiled=True)]
    expected = ["ncnn", "all kept", "recomputing, macs=64", "compiled, all kept", "compiled, recomputing, macs=64"]
    assert [row.how for row in rows_of(jobs)] == expected


def test_a_way_to_train_is_measured_once():
    arguments = parser().parse_args(["dla46_c", "--curve", "dla46_c", "--training", "2", "--compile", "--output", "x"])
    jobs = _jobs(arguments, {"dla46_c": Costs(1, 1, 1, 1, True)})
    assert [(job.compiled, len(job.recompute)) for job in jobs if job.work == "training"] == [(True, 2), (False, 8)]


@pytest.mark.slow
def test_dense_predictors(tmp_path):
    networks = ["dla46_cup", "torchvision/lraspp_mobilenet_v3_large"]
    arguments = [*networks, "--engines", "plain,eager", "--training", "2", *SMALL]
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 0
    found = rows(tmp_path / "out")
    assert {row["size"] for row in found} == {"64x96"}
    assert all(map(possible, found))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_the_network_through_max_autotune(tmp_path):
    arguments = ["dla46_c", "--engines", "plain,max-autotune", *SMALL, "--output", str(tmp_path / "out")]
    assert main(arguments) == 0
    plain, tuned = rows(tmp_path / "out")
    assert (tuned["engine"], tuned["error"]) == ("max-autotune", "")
    assert float(plain["difference"]) == 0
    assert float(tuned["difference"]) < 1e-4


@pytest.mark.slow
def test_several_networks_at_several_batches(tmp_path):
    arguments = ["dla46_c", "timm/resnet10t", "--engines", "plain,onnxruntime", "--batch", "1,2", *SMALL]
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 0
    found = rows(tmp_path / "out")
    assert [(row["batch"], row["model"], row["engine"]) for row in found] == [
        (batch, model, engine)
        for batch in ("1", "2")
        for model in ("dla46_c", "timm/resnet10t")
        for engine in ("plain", "onnxruntime")
    ]
    assert all(map(possible, found))


@pytest.mark.slow
def test_a_network_that_cannot_be_trained(tmp_path):
    command = ["dla34_centernet", "--engines", "none", "--training", "2", *SMALL, "--output", str(tmp_path / "out")]
    assert main(command) == 2
    assert "returns a dict" in rows(tmp_path / "out")[0]["error"]


@pytest.mark.slow
def test_the_curve(tmp_path):
    assert main(["--curve", "dla46_c", "--training", "2", *SMALL, "--output", str(tmp_path / "out")]) == 0
    found = rows(tmp_path / "out")
    assert [row["recompute"] for row in found] == ["", "0", "16", "32", "64", "128", "150", "256"]
    memory = [float(row["memory_mib"]) for row in found]
    assert memory[0] > 1.5 * max(memory[1], memory[4])  # of so small a network 64 saves no more than 0


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "precision"), [("openvino", "int8"), ("eager", "bfloat16")])
def test_fewer_bits(engine, precision, tmp_path):
    command = ["dla46_c", "--engines", engine, "--precision", precision, *SMALL, "--output", str(tmp_path / "out")]
    assert main(command) == 0
    (row,) = rows(tmp_path / "out")
    assert possible(row)
    assert float(row["difference"]) > 1e-4  # otherwise it would have run in float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dla35"], "unknown model 'dla35'"),
        ([], "nothing to measure"),
        (["dla46_c=none"], "name networks, with --training 8 where engines are none, or give --curve"),
        (["dla46_c", "--compile"], "--compile is of training steps: name networks, and give --training 8, too"),
        (["--curve", "dla46_c", "--training", "2", "--compile"], "--compile is of training steps"),
        (["dla46_c", "--device", "cuda"], "no GPU that torch can use"),
    ],
)
def test_what_is_asked_wrongly(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made(tmp_path, capsys):
    (tmp_path / "out").write_text("a file")
    assert main(["dla46_c", *SMALL, "--output", str(tmp_path / "out")]) == 2
    assert "File exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--engines", "tensorflow"], "unknown engine 'tensorflow'; choose of plain, max-autotune, eager"),
        (["timm/resnet10t=plain,tensorflow"], "unknown engine 'tensorflow'; choose of plain"),
        (["--size", "64x64x3"], "'64x64x3' is not HEIGHTxWIDTH"),
        (["--size", "64x"], "'' is not a positive whole number"),
        (["--seconds", "inf"], "'inf' is not a positive number"),
    ],
)
def test_arguments_that_are_not_understood(arguments, message, capsys):
    with pytest.raises(SystemExit):
        main(["dla46_c", *arguments, "--output", "out"])
    assert message in capsys.readouterr().err


def test_a_process_that_ended_by_itself_is_no_fault_on_macos(tmp_path, monkeypatch):
    """Its group takes no signal any more; Linux lets that pass until somebody has asked how it ended."""
    killpg = os.killpg

    def as_on_macos(group: int, number: int) -> None:
        if os.waitid(os.P_PID, group, os.WEXITED | os.WNOWAIT | os.WNOHANG):
            raise PermissionError(1, "Operation not permitted")
        killpg(group, number)

    monkeypatch.setattr(os, "killpg", as_on_macos)
    process = Process(1, tmp_path / "log")
    with pytest.raises(JobError, match="dla35"):
        process.prepare(Job(INFERENCE, "dla35", "plain"))
    os.waitid(os.P_PID, process._process.pid, os.WEXITED | os.WNOWAIT)
    process.end()


def children(parent: int) -> list[int]:
    found = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(number) for number in found.read_text().split()] if found.exists() else []


@contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen]:
    """The command in a group of its own, as a shell starts it; it does not outlive the test, whatever happens."""
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, preexec_fn=os.setpgrp) as process:
        try:
            yield process
        finally:
            process.terminate()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes as Linux shows them")
@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGKILL])
def test_no_process_outlives_the_command(number, tmp_path):
    code = "import sys; from dla.benchmark.command import main; sys.exit(main(sys.argv[1:]))"
    command = [
        sys.executable,
        "-c",
        code,
        "dla46_c",
        "--engines",
        "plain",
        *SMALL,
        "--rounds",
        "10000",
        "--output",
        str(tmp_path / "out"),
    ]
    with started(command) as benchmark:
        deadline = time.monotonic() + 120
        while not any(map(stopped, workers := children(benchmark.pid))) or len(workers) < 2:
            assert benchmark.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        os.kill(benchmark.pid, number)
        assert benchmark.wait(60) == (130 if number == signal.SIGTERM else -number)
    deadline = time.monotonic() + 60
    while any(map(alive, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not any((tmp_path / "out").iterdir())


def state(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def stopped(process: int) -> bool:
    return state(process) == "T"


def alive(process: int) -> bool:
    return state(process) not in "XZ"
