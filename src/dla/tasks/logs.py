"""What a run writes down while it trains."""

from typing import Any

from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger


def loggers(root: str) -> list[Logger]:
    """A CSV of metrics and TensorBoard logs under `root`; a resumed run adds a version and overwrites nothing."""
    return [UTF8Logger(root, name="metrics"), TensorBoardLogger(root, name="tensorboard")]


class UTF8Logger(CSVLogger):
    """Writes metrics in UTF-8; Lightning's own takes the system's encoding, which may lack a class's letters."""

    @property
    def experiment(self) -> Any:
        """What writes them."""
        experiment = super().experiment
        experiment._fs = UTF8Files()
        return experiment


class UTF8Files(LocalFileSystem):
    """Opens text in UTF-8."""

    def open(self, path: str, mode: str = "rb", *args: Any, **options: Any) -> Any:
        """Open a file."""
        return super().open(path, mode, *args, **({} if "b" in mode else {"encoding": "utf-8"}), **options)
