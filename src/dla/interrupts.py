"""SIGTERM, by which batch systems and containers end a program, treated as Ctrl-C."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def stopped_like_ctrl_c() -> Iterator[None]:
    """SIGTERM within the block raises KeyboardInterrupt, so that the program ends what it has started."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
