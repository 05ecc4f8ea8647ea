"""How a command ends, whichever it is: by Ctrl-C or SIGTERM, for want of an extra, or because something is wrong."""

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

DONE, FAILED, INTERRUPTED = 0, 2, 130
"""Exit codes; the last is what a shell says of a program that Ctrl-C ended (128 + SIGINT)."""


def run_command(
    command: str,
    work: Callable[[], int],
    *,
    needs: str,
    left: str = "",
    wrong: tuple[type[Exception], ...] = (ValueError, OSError),
) -> int:
    """Do the work of `dla COMMAND`, and return its exit code; what ends it early is one line on standard error.

    Args:
        command: The command's name.
        work: Returns the exit code. A KeyboardInterrupt with a message says what it leaves in place of `left`.
        needs: What needs the extra [train].
        left: What an interrupt leaves.
        wrong: Errors that tell of what is wrong outside of the program; others are bugs, and raised.
    """
    try:
        with stopped_like_ctrl_c():
            return work()
    except KeyboardInterrupt as interrupt:
        leaves = str(interrupt) or left
        return ended(command, f"interrupted; {leaves}" if leaves else "interrupted", INTERRUPTED)
    except BrokenPipeError:  # nobody reads the output any more, which is no error of ours; `dla.cli` sees to it
        raise
    except ImportError as error:
        remedy = "" if "pip install" in str(error) else f"; install what {needs} needs by the extra [train]"
        return ended(command, f"error: {error}{remedy}", FAILED)
    except wrong as error:
        return ended(command, f"error: {error}", FAILED)


def ended(command: str, message: str, code: int) -> int:
    """Say on standard error why `dla COMMAND` ends, and return the exit code."""
    print(f"dla {command}: {message}", file=sys.stderr)
    return code


def command_line(words: Sequence[str]) -> str:
    """The words of a command as a shell takes them: those of Windows take no single quotes."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


@contextmanager
def stopped_like_ctrl_c() -> Iterator[None]:
    """SIGTERM, by which batch systems and containers end a program, raises KeyboardInterrupt within the block.

    So the program ends what it has started. Python lets the main thread alone ask for that; others go without.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
