"""What a run tells of itself."""

from lightning import Trainer
from rich.console import Console


def say(trainer: Trainer, text: str) -> None:
    """Print a line, once for all processes."""
    if trainer.is_global_zero:
        Console(soft_wrap=True).print(text, highlight=False, markup=False)
