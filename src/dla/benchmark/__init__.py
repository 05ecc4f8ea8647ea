"""`dla benchmark`: any networks in any engines side by side, each in a process of its own, in alternating rounds."""

from dla.benchmark.command import main

__all__ = ["main"]
