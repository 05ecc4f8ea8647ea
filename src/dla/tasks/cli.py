"""`dla fit`, `validate` and `test`: Lightning's command line over our tasks and data modules."""

import logging
import os
import sys
import warnings
from importlib import import_module
from typing import Any

from jsonargparse import ArgumentError, Namespace
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.plugins.io import CheckpointIO
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.distributed import is_torchelastic_launched

import dla.data
import dla.tasks
from dla.commands import INTERRUPTED, ended
from dla.names import parse
from dla.tasks.config_text import Parser
from dla.tasks.errors import loader_ended, misused, said, stopped_with_loaders
from dla.tasks.lock import FolderLock
from dla.tasks.logs import loggers
from dla.tasks.run import AtomicCheckpointIO, SaveConfig, check_folder, checkpoints, resolved_checkpoint
from dla.tasks.stop import StopTogether
from dla.weights import completed_options
from dla.weights.checkpoint import read_checkpoint

for module in dla.data.MODULES:  # importing makes classes known by their bare names, as in `--data CamVidData`
    import_module(f"dla.data.{module}")

say = rank_zero_only(print)  # once for all processes

TERMINATED = 143  # what shells give for a process that SIGTERM ended
STOPPED = "stopped by SIGTERM before its end"

NOISE = (  # warnings about which the reader can do nothing
    r".*args parameter is intended to run from within Python.*",
    r".*does not have many workers.*",  # none are needed where images are kept in memory
    r".*smaller than the logging interval.*",  # what we log, we log once an epoch
    r".*not supported by the model summary.*",
    r"Checkpoint directory .* exists and is not empty.*",  # a run that goes on, and so the next
    r".*callbacks used to create the checkpoint.*",
    r".*WeightAveraging state cannot be restored.*",  # nor is it needed to measure: a checkpoint's weights are averaged
    r".*isinstance\(treespec, LeafSpec\).*",  # Lightning about itself, and so the next
    r"(?s).*(JsonargparseDeprecationWarning|was deprecated in v4).*",
)


class CLI(LightningCLI):
    """Lightning's command line of one word, a run's folder at `trainer.default_root_dir`, and checked checkpoints."""

    def __init__(self, word: str, **options: Any) -> None:
        self.word = word
        super().__init__(**options)

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """The word alone: a parser of each, which lists what all tasks and data take, would cost most of the start."""
        return {self.word: super().subcommands()[self.word]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Let the data tell the task how many classes there are."""
        parser.link_arguments("data.num_classes", "model.init_args.num_classes", apply_on="instantiate")
        parser.set_defaults({"trainer.default_root_dir": "runs/latest", "trainer.enable_model_summary": False})

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Refuse a bad checkpoint, or a folder in use, before anything is built.

        `last` and `best` are those of the run's folder; to `fit`, `last` is nothing where there is none yet, so that
        one command starts a run and goes on with it.
        """
        super().parse_arguments(parser, args)
        config = self.config[self.config.subcommand]
        training = self.config.subcommand == "fit"
        config.weights_only = True
        _expand_home(config)
        if not training:
            config.verbose = False  # our table says it in percent
        root, asked = config.trainer.default_root_dir, config.ckpt_path
        if asked:
            path = resolved_checkpoint(asked, root)
            start = training and asked == "last" and not path.exists()
            config.ckpt_path = None if start else str(path)
            say(f"{root} has no checkpoint yet: training starts from the beginning" if start else f"checkpoint: {path}")
        self.stated = config.model.init_args.clone()
        if config.ckpt_path:
            read_checkpoint(config.ckpt_path)
            _start_from_nothing(config.model.init_args)
        if training and not config.trainer.fast_dev_run:
            check_folder(root, config.ckpt_path)

    def before_validate(self) -> None:
        """Refuse to measure a network of which a part was never trained.

        Raises:
            ValueError: it names the part.
        """
        untrained = getattr(self.model, "untrained", "")  # a task that is not of ours may know better
        if untrained and not self.config[self.config.subcommand].ckpt_path:
            raise ValueError(
                f"there is nothing to measure where no weights are given for {untrained}: give --ckpt_path or "
                "--model.weights, of the whole network"
            )

    before_test = before_validate

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """In `fit`, keep logs and checkpoints in the run's folder; `validate`, `test` and bare runs print alone."""
        self.config[self.subcommand].model.init_args = self.stated  # which the run's folder keeps
        trainer = self.config[self.subcommand].trainer
        root, keeps = trainer.default_root_dir, self.subcommand == "fit" and not trainer.barebones
        if not keeps:
            kwargs["logger"] = kwargs["enable_checkpointing"] = False
        elif trainer.logger is None:
            kwargs["logger"] = loggers(root)
        self.trainer_defaults["callbacks"] = [StopTogether()]
        if keeps and trainer.enable_checkpointing is not False:
            self.trainer_defaults["callbacks"] += [FolderLock(), *checkpoints(root, self.model.monitor)]
            kwargs["plugins"] = _with_checkpoint_io(self.config_init[self.subcommand].trainer.plugins)
        if is_torchelastic_launched():
            kwargs |= _as_launched(trainer)
        return super().instantiate_trainer(**kwargs)


def main(args: list[str]) -> int:
    """Run `fit`, `validate` or `test` with its options; bad input ends in one line on stderr and exit code 1 or 2.

    Ctrl-C stops a run, with exit code 130, and SIGTERM after its step, with 143.
    """
    try:
        with warnings.catch_warnings():
            _quiet()
            _run(args)
    except SIGTERMException:  # a SystemExit, which by itself would end the program as if all were done
        return ended(args[0], STOPPED, TERMINATED)
    except (KeyboardInterrupt, SystemExit) as error:
        if isinstance(error.__context__, BrokenPipeError):  # of which rich makes an exit; `dla.cli` sees to it
            raise error.__context__ from None
        if not isinstance(error.__context__ or error, KeyboardInterrupt):  # of which Lightning makes an exit
            raise
        return ended(args[0], "interrupted", INTERRUPTED)
    except BrokenPipeError:
        raise
    except ArgumentError as error:
        lists = f"dla {args[0]} --help lists all options, --model.help CLASS and --data.help CLASS theirs"
        return ended(args[0], f"{misused(str(error))} ({lists})", 2)
    except MisconfigurationException as error:  # Lightning's word for options that this machine cannot follow
        return ended(args[0], str(error), 2)
    except (ValueError, OSError, ImportError) as error:
        ours = said(error)
        if ours is None:
            raise
        return ended(args[0], ours, 1)
    except RuntimeError as error:
        if stopped_with_loaders(error):
            return ended(args[0], STOPPED, TERMINATED)
        gone = loader_ended(error)
        if gone is None:
            raise
        return ended(args[0], gone, 1)
    return 0


def _quiet() -> None:
    """Silence Lightning's greetings, and warnings about which the reader can do nothing."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("profilers", "callbacks"):  # what these tell was asked for
        logging.getLogger(f"lightning.pytorch.{name}").setLevel(logging.INFO)
    for message in NOISE:
        warnings.filterwarnings("ignore", message=message)


def _run(args: list[str]) -> None:
    CLI(
        args[0],
        parser_class=Parser,
        model_class=LightningModule,
        datamodule_class=LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        save_config_callback=SaveConfig,
        save_config_kwargs={"save_to_log_dir": False},
        seed_everything_default=0,
        auto_configure_optimizers=False,
        parser_kwargs={"prog": "dla", "exit_on_error": False, args[0]: {"exit_on_error": False}},
        # None where they are the process's own: Lightning warns of two sources, and ddp starts its children with the
        # process's arguments.
        args=None if args == sys.argv[1:] else args,
    )


def _expand_home(config: Namespace) -> None:
    """Write ~ out in paths: a shell leaves it alone behind = and in files, and Lightning expands it in one of them."""
    data = config.data.get("init_args") or {}
    places = [(config.trainer, "default_root_dir"), (config, "ckpt_path"), (config.model.init_args, "weights")]
    for place, name in [*places, *((data, name) for name in list(data.keys()))]:
        if isinstance(place.get(name), str):
            place[name] = os.path.expanduser(place[name])  # noqa: PTH111, which keeps `timm/NAME` and "last" as they are


def _with_checkpoint_io(plugins: Any) -> list[Any]:
    """What `trainer.plugins` asks for, one or several, and our way to write checkpoints where it brings none."""
    asked = plugins if isinstance(plugins, list) else [plugins] if plugins else []
    return asked if any(isinstance(plugin, CheckpointIO) for plugin in asked) else [*asked, AtomicCheckpointIO()]


def _as_launched(trainer: Namespace) -> dict[str, Any]:
    """The processes that torchrun has started, where the options leave them open."""
    world, local = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    found = {"devices": ("auto", local), "num_nodes": (1, world // local), "strategy": ("auto", "ddp")}
    return {name: value for name, (default, value) in found.items() if trainer[name] == default and world > 1}


def _start_from_nothing(task: Namespace) -> None:
    """Leave out the weights that a run began with: a checkpoint of it has all, and their file may be gone."""
    task.weights = None
    task.options = completed_options(task.network, task.options or {})
    task.network = parse(task.network).untagged
