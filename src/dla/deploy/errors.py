"""What goes wrong between a network and a runtime."""

from collections.abc import Iterator
from contextlib import contextmanager


class DeployError(ValueError):
    """A runtime that is missing, cannot take the network, or computes something else; the message says what to do."""


def brief(error: Exception, behind: str = "") -> str:
    """What a runtime says, behind a heading if it has that, in one line and cut where it goes on for pages."""
    said = str(error)
    text = " ".join((said.rpartition(behind)[2] if behind else said).split())
    return f"{text[:300]} ..." if len(text) > 300 else text


@contextmanager
def explained(name: str) -> Iterator[None]:
    """What a runtime raises in the block, each in its own way, is a DeployError; wrong values and files stay so."""
    try:
        yield
    except (ValueError, OSError):
        raise
    except Exception as error:
        if "KeyboardInterrupt" in str(error):  # Ctrl-C, which came in a call from a runtime's C++ back to Python
            raise KeyboardInterrupt from error
        raise DeployError(f"{name} cannot take the network ({brief(error)}): use another engine or format") from error
