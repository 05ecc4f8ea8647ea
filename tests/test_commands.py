"""How a command ends, whichever it is."""

import os
import signal
import threading

import pytest

from dla.commands import command_line, run_command


def stop() -> int:
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(60)
    return 0


def fail(error: BaseException) -> int:
    raise error


def test_the_exit_code_is_that_of_the_work(capsys):
    assert run_command("try", lambda: 7, needs="trying") == 7
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted; half is left"),
        (KeyboardInterrupt("all is left"), 130, "interrupted; all is left"),
        (ImportError("no module"), 2, "error: no module; install what trying needs by the extra [train]"),
        (ImportError("pip install 'a[b]'"), 2, "error: pip install 'a[b]'"),
        (ValueError("no number"), 2, "error: no number"),
        (FileNotFoundError("no file"), 2, "error: no file"),
    ],
)
def test_what_ends_a_command_is_one_line(error, code, message, capsys):
    assert run_command("try", lambda: fail(error), needs="trying", left="half is left") == code
    assert capsys.readouterr().err == f"dla try: {message}\n"


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), RuntimeError("a bug")])
def test_a_closed_output_and_a_bug_are_raised(error):
    with pytest.raises(type(error)):
        run_command("try", lambda: fail(error), needs="trying")


def test_what_else_is_wrong_is_up_to_the_command(capsys):
    assert run_command("try", lambda: fail(RuntimeError("no worker")), needs="trying", wrong=(RuntimeError,)) == 2
    assert capsys.readouterr().err == "dla try: error: no worker\n"


def test_sigterm_is_ctrl_c_and_afterwards_what_it_was(capsys):
    before = signal.getsignal(signal.SIGTERM)
    assert run_command("try", stop, needs="trying") == 130
    assert capsys.readouterr().err == "dla try: interrupted\n"
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_command_runs_in_any_thread():
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(run_command("try", lambda: 0, needs="trying")))
    thread.start()
    thread.join()
    assert codes == [0]


def test_a_command_line_is_one_of_the_systems_shell(monkeypatch):
    words = ["dla", "fit", "--config", "my runs\\a\\config.yaml", "--data.root", "D:\\streets"]
    assert command_line(words) == "dla fit --config 'my runs\\a\\config.yaml' --data.root 'D:\\streets'"
    monkeypatch.setattr(os, "name", "nt")
    on_windows = command_line(words)
    monkeypatch.undo()
    assert on_windows == 'dla fit --config "my runs\\a\\config.yaml" --data.root D:\\streets'
