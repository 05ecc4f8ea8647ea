"""Keeps a second process from training in the folder of a run that is still going."""

from pathlib import Path

from filelock import FileLock, Timeout
from lightning import Callback, LightningModule, Trainer

from dla.tasks.run import check_folder

PATIENCE = 10.0  # seconds; the workers of a process that was killed notice within five, and hold the folder as long


class FolderLock(Callback):
    """Holds the run's folder from the start of `fit` to its end; the system lets go where a process is killed."""

    def __init__(self) -> None:
        self.lock: FileLock | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the folder.

        Raises:
            ValueError: another process has it.
            FileExistsError: another process had it meanwhile, and left a run.
        """
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        root = Path(trainer.default_root_dir)
        root.mkdir(parents=True, exist_ok=True)
        self.lock = FileLock(root / ".lock")
        try:
            self.lock.acquire(timeout=PATIENCE)
        except Timeout:
            raise ValueError(
                f"another process is training in {root}: wait for it or stop it, or choose another folder by "
                "--trainer.default_root_dir"
            ) from None
        except NotImplementedError:  # some file systems of networks know no locks
            self.lock = None
        check_folder(str(root), trainer.ckpt_path)  # type: ignore[arg-type]  # again: what had it may have begun a run

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let go."""
        if self.lock:
            self.lock.release()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Let go."""
        self.teardown(trainer, pl_module, "fit")
