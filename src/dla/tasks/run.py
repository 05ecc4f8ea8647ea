"""A run's folder: the resolved configuration, metrics, the best and the last checkpoint."""

import shutil
import sys
from pathlib import Path, PureWindowsPath
from typing import Any

import torch
from jsonargparse import set_dumper
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.exceptions import SIGTERMException

from dla.commands import command_line
from dla.files import atomic_write, check_writable, write_text
from dla.tasks.config_text import config_text
from dla.tasks.errors import loader_ended, stopped_with_loaders


def checkpoints(root: str, monitor: str) -> list[ModelCheckpoint]:
    """`checkpoints/last.ckpt`, of the end of each epoch, and `checkpoints/best.ckpt`, of the highest `monitor`."""
    folder = Path(root, "checkpoints")
    last = MovableCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    best = MovableCheckpoint(
        folder, "best", monitor, mode="max", save_on_train_epoch_end=False, enable_version_counter=False
    )
    return [last, best]


class MovableCheckpoint(ModelCheckpoint):
    """Finds its files in a run's folder that was moved; Lightning forgets the best score then, and writes over it."""

    PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")

    @property
    def _legacy_state_key(self) -> Any:
        """Under which older checkpoints hold its state: the key of Lightning's own class, which may stand beside it."""
        return self.state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take files of the same names in this folder for those that the state knows, if its best is among them."""
        if self._here(state_dict["best_model_path"]).is_file():
            paths = {key: str(self._here(state_dict[key])) for key in self.PATHS if state_dict[key]}
            scores = {str(self._here(path)): score for path, score in state_dict["best_k_models"].items()}
            state_dict = {**state_dict, **paths, "best_k_models": scores, "dirpath": self.dirpath}
        super().load_state_dict(state_dict)

    def _here(self, path: str) -> Path:
        return Path(str(self.dirpath), PureWindowsPath(path).name)  # which takes slashes, too, and is of any system


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all.

    Lightning's own goes through the system's temporary folder; on another file system than the run's, moving from
    there is copying, and a process killed meanwhile leaves half of the only checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write beside `path`, then rename.

        Raises:
            OSError: it cannot be written, and the one before is still there.
        """
        folder = Path(path).parent
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_write(path) as partial:
                torch.save(checkpoint, partial)
        except (OSError, RuntimeError) as error:  # the latter is what torch makes of a full disk
            if loader_ended(error):  # which torch raises wherever a run is at that moment
                raise
            free = shutil.disk_usage(folder).free / 2**20
            reason = _first_line(error.__cause__ or error)
            problem = f"{path} could not be written ({reason}), and {free:.0f} MiB are free there"
            raise OSError(f"{problem}: make room. {_how_to_go_on(folder.parent)}".rstrip()) from error


def check_folder(root: str, goes_on_from: str | None = None) -> None:
    """See that a run can write to its folder, or make it, and that it may.

    A run that Slurm starts again goes on with what Lightning wrote to the folder before it asked for that.

    Raises:
        FileExistsError: it holds a run, which this one would overwrite, since it does not go on with it.
        OSError: it cannot be written to.
    """
    checkpoint = resolved_checkpoint("last", root)
    goes_on = any(Path(root).glob("hpc_ckpt_*.ckpt")) if goes_on_from is None else _within(goes_on_from, Path(root))
    if checkpoint.exists() and not goes_on:
        other = f", another one than {goes_on_from} is of" if goes_on_from else ""
        raise FileExistsError(
            f"{root} already holds a run{other}. {_how_to_go_on(Path(root))} Or choose another folder by "
            "--trainer.default_root_dir"
        )
    try:
        check_writable(Path(root))
    except OSError as error:
        raise OSError(f"{error} by --trainer.default_root_dir") from error


def resolved_checkpoint(name: str, root: str | Path) -> Path:
    """The file that "last" and "best" stand for in a run's folder; any other name is a path."""
    return Path(root, "checkpoints", f"{name}.ckpt") if name in ("last", "best") else Path(name)


def _within(path: str, folder: Path) -> bool:
    return folder.resolve() in Path(path).resolve().parents


def _how_to_go_on(root: Path) -> str:
    """The command for it; nothing where there is no checkpoint yet."""
    last = resolved_checkpoint("last", root)
    command = command_line(["dla", "fit", "--config", str(root / "config.yaml"), "--ckpt_path", str(last)])
    return f"Go on with it by `{command}`." if last.exists() else ""


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


class SaveConfig(SaveConfigCallback):
    """Writes the resolved configuration to `config.yaml` in the run's folder when training starts."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Nothing yet: a checkpoint from which the run is to go on has not been looked at, and may be refused."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write it now."""
        if trainer.is_global_zero:
            self.save_config(trainer, pl_module, "fit")

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write it whole or not at all."""
        config = self.config.clone()
        config.ckpt_path = config.weights_only = None  # where a run went on from is not part of its recipe
        root = Path(trainer.default_root_dir)
        root.mkdir(parents=True, exist_ok=True)
        set_dumper("yaml", config_text)  # which also writes what is nested, and reads it again
        write_text(root / "config.yaml", self.parser.dump(config, skip_none=False))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Where somebody stopped the run, or the reader of its output is gone, say how to go on with it."""
        stopped = isinstance(exception, KeyboardInterrupt | SIGTERMException | SystemExit | BrokenPipeError)
        stopped = stopped or stopped_with_loaders(exception)
        way = _how_to_go_on(Path(trainer.default_root_dir))
        if stopped and way and trainer.is_global_zero and trainer.state.fn == "fit":
            print(way, file=sys.stderr)
