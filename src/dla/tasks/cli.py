"""`dla fit`, `validate` and `test`: Lightning's command line over our tasks and data modules."""

import logging
import os
import re
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.distributed import is_torchelastic_launched

import dla.data.class_modules
import dla.data.modules
import dla.tasks  # noqa: F401  importing makes classes known by their bare names, as in `--data CamVidData`
from dla.checkpoint import read_checkpoint
from dla.tasks.run import AtomicCheckpointIO, SaveConfig, checkpoints, loggers, refuse_second_run

# The last frame, its source, and the message, in what torch makes of an error in a process that loads data.
LOADING = re.compile(
    r"Caught \w+ in DataLoader worker process [\s\S]*\n"
    r'  File "(?P<file>[^"\n]*)", line \d+, in [^\n]*\n(?:    [^\n]*\n)*[\w.]+: (?P<said>[\s\S]*)'
)

TERMINATED = 143  # what shells give for a process that SIGTERM ended

NOISE = (  # warnings about which the reader can do nothing
    r".*args parameter is intended to run from within Python.*",
    r".*does not have many workers.*",  # none are needed where images are kept in memory
    r".*smaller than the logging interval.*",  # what we log, we log once an epoch
    r".*not supported by the model summary.*",
    r"Checkpoint directory .* exists and is not empty.*",  # a run that goes on, and so the next
    r".*callbacks used to create the checkpoint.*",
    r".*isinstance\(treespec, LeafSpec\).*",  # Lightning about itself, and so the next
    r"(?s).*(JsonargparseDeprecationWarning|was deprecated in v4).*",
)


class CLI(LightningCLI):
    """Lightning's command line, with a run's folder at `trainer.default_root_dir` and checked checkpoints."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Let the data tell the task how many classes there are."""
        parser.link_arguments("data.num_classes", "model.init_args.num_classes", apply_on="instantiate")
        parser.set_defaults({"trainer.default_root_dir": "runs/latest", "trainer.enable_model_summary": False})

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Refuse a bad checkpoint, or a folder in use, before anything is built."""
        super().parse_arguments(parser, args)
        config = self.config[self.config.subcommand]
        training = self.config.subcommand == "fit"
        if not training:
            config.verbose = False  # our table says it in percent
        if config.ckpt_path:
            read_checkpoint(config.ckpt_path)
            config.weights_only = True
        elif not training:
            _require_weights(config.model.init_args)
        elif not config.trainer.fast_dev_run:
            refuse_second_run(config.trainer.default_root_dir)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """In `fit`, keep logs and checkpoints in the run's folder; `validate` and `test` print alone."""
        trainer = self.config[self.subcommand].trainer
        root = trainer.default_root_dir
        if self.subcommand != "fit":
            kwargs["logger"] = kwargs["enable_checkpointing"] = False
        elif trainer.logger is None:
            kwargs["logger"] = loggers(root)
        if self.subcommand == "fit" and trainer.enable_checkpointing is not False:
            self.trainer_defaults["callbacks"] = checkpoints(root, self.model.monitor)
            kwargs["plugins"] = [*(trainer.plugins or []), AtomicCheckpointIO()]
        if is_torchelastic_launched():
            kwargs |= _as_launched(trainer)
        return super().instantiate_trainer(**kwargs)


def main(args: list[str]) -> int:
    """Run `fit`, `validate` or `test` with its options; bad input ends in one line on stderr and exit code 1.

    SIGTERM stops a run after its step, with exit code 143.
    """
    # Lightning's greetings; what it warns of comes by `warnings`.
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in NOISE:
                warnings.filterwarnings("ignore", message=message)
            CLI(
                LightningModule,
                LightningDataModule,
                subclass_mode_model=True,
                subclass_mode_data=True,
                save_config_callback=SaveConfig,
                save_config_kwargs={"save_to_log_dir": False},
                seed_everything_default=0,
                auto_configure_optimizers=False,
                # None where they are the process's own: Lightning warns of two sources, and ddp starts its children
                # with the process's arguments.
                args=None if args == sys.argv[1:] else args,
            )
    except SIGTERMException:  # which by itself would end the program as if all were done
        print(f"dla {args[0]}: stopped by SIGTERM before its end", file=sys.stderr)
        return TERMINATED
    except (ValueError, OSError) as error:
        said = _said(error)
        if said is None:
            raise
        print(f"dla {args[0]}: {said}", file=sys.stderr)
        return 1
    return 0


def _as_launched(trainer: Namespace) -> dict[str, Any]:
    """The processes that torchrun has started, where the options leave them open."""
    world, local = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    found = {"devices": ("auto", local), "num_nodes": (1, world // local), "strategy": ("auto", "ddp")}
    return {name: value for name, (default, value) in found.items() if trainer[name] == default and world > 1}


def _require_weights(task: Namespace) -> None:
    if not task.get("weights") and "." not in (task.get("backbone") or task.get("network", "")):
        raise ValueError("there is nothing to measure in untrained weights: give --ckpt_path or --model.weights")


def _said(error: BaseException | None) -> str | None:
    """What the outermost of an error and its causes says that our own code raised; None if there is none.

    jsonargparse wraps an error of a constructor into one that lists all its arguments, and ours may wrap Pillow's.
    """
    if error is None:
        return None
    if _is_ours(error):
        return str(error)
    return _said_by_worker(str(error)) or _said(error.__cause__)


def _said_by_worker(text: str) -> str | None:
    """What our own code said in a process that loads data; of its error torch passes on the traceback, as text."""
    found = LOADING.fullmatch(text)
    ours = found and Path(__file__).parents[1] in Path(found["file"]).parents
    return found["said"].rstrip() if found and ours else None


def _is_ours(error: BaseException) -> bool:
    """Whether our own code raised the error, which then speaks to the user; any other needs its traceback."""
    frames = list(traceback.walk_tb(error.__traceback__))
    return bool(frames) and frames[-1][0].f_globals["__name__"].split(".")[0] == "dla"
