"""`dla fit`, `validate` and `test`: Lightning's command line over our tasks and data modules."""

import sys
import warnings
from typing import Any

from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

import dla.data.modules
import dla.tasks  # noqa: F401  importing makes classes known by their bare names, as in `--data CamVidData`
from dla.checkpoint import CheckpointError, read_checkpoint
from dla.tasks.run import SaveConfig, checkpoints, loggers, refuse_second_run

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
        parser.set_defaults({"trainer.default_root_dir": "runs/latest"})

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Refuse a bad checkpoint, or a folder in use, before anything is built."""
        super().parse_arguments(parser, args)
        config = self.config[self.config.subcommand]
        if config.ckpt_path:
            read_checkpoint(config.ckpt_path)
            config.weights_only = True
        elif self.config.subcommand == "fit" and not config.trainer.fast_dev_run:
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
        return super().instantiate_trainer(**kwargs)


def main(args: list[str]) -> int:
    """Run `fit`, `validate` or `test` with its options; bad input ends in one line on stderr and exit code 1."""
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
                args=None if args == sys.argv[1:] else args,
            )
    except (CheckpointError, FileNotFoundError, FileExistsError) as error:
        print(f"dla {args[0]}: {error}", file=sys.stderr)
        return 1
    return 0
