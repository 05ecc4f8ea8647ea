"""`dla fit`, `validate` and `test`: Lightning's command line over our tasks and data modules."""

import sys
from typing import Any

from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

import dla.data.modules
import dla.tasks  # noqa: F401  importing makes classes known by their bare names, as in `--data CamVidData`
from dla.checkpoint import CheckpointError, read_checkpoint
from dla.tasks.run import SaveConfig, checkpoints, loggers, refuse_second_run


class CLI(LightningCLI):
    """Lightning's command line, with a run's folder at `trainer.default_root_dir` and checked checkpoints."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Let the data tell the task how many classes there are."""
        parser.link_arguments("data.num_classes", "model.init_args.num_classes", apply_on="instantiate")
        parser.set_defaults({"trainer.default_root_dir": "runs/latest"})

    def before_instantiate_classes(self) -> None:
        """Refuse a bad checkpoint, or a folder in use, before anything is built."""
        config = self.config[self.subcommand]
        if config.ckpt_path:
            read_checkpoint(config.ckpt_path)
            config.weights_only = True
        elif self.subcommand == "fit" and not config.trainer.fast_dev_run:
            refuse_second_run(config.trainer.default_root_dir)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """In `fit`, keep logs and checkpoints in the run's folder; `validate` and `test` print alone."""
        trainer = self.config[self.subcommand].trainer
        root = trainer.default_root_dir
        if self.subcommand != "fit":
            kwargs["logger"] = False
        elif trainer.logger is None:
            kwargs["logger"] = loggers(root)
        if self.subcommand == "fit" and trainer.enable_checkpointing is not False:
            self.trainer_defaults["callbacks"] = checkpoints(root, self.model.monitor)
        return super().instantiate_trainer(**kwargs)


def main(args: list[str]) -> int:
    """Run `fit`, `validate` or `test` with its options; bad input ends in one line on stderr and exit code 1."""
    program, sys.argv = sys.argv, [sys.argv[0]]  # Lightning warns where it sees two lists of arguments
    try:
        CLI(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=SaveConfig,
            seed_everything_default=0,
            args=args,
        )
    except (CheckpointError, FileNotFoundError, FileExistsError) as error:
        print(f"dla {args[0]}: {error}", file=sys.stderr)
        return 1
    finally:
        sys.argv = program
    return 0
