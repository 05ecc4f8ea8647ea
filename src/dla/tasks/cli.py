"""`dla fit`, `validate` and `test`: Lightning's command line over our tasks and data modules."""

import sys
import warnings
from pathlib import Path

from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

import dla.data.modules  # makes `--data CamVidData` known by its bare name
import dla.tasks  # noqa: F401  makes `--model SegmentationTask` known by its bare name
from dla.checkpoint import CheckpointError, read_checkpoint
from dla.tasks.run import RunCheckpoint, SaveConfig, loggers


class CLI(LightningCLI):
    """Lightning's command line, with a run's folder under `trainer.default_root_dir` and checked checkpoints."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The data tells the task how many classes there are; the best checkpoint's metric can be chosen."""
        parser.link_arguments("data.num_classes", "model.init_args.num_classes", apply_on="instantiate")
        parser.add_lightning_class_args(RunCheckpoint, "checkpoint")
        parser.set_defaults({"trainer.default_root_dir": "runs/latest"})

    def before_instantiate_classes(self) -> None:
        """Refuse a bad checkpoint before anything is built."""
        ckpt_path = self.config[self.subcommand].get("ckpt_path")
        if ckpt_path:
            read_checkpoint(ckpt_path)

    def instantiate_trainer(self, **kwargs: object) -> Trainer:
        """Log to the run's folder when training, unless the recipe names loggers; otherwise print alone."""
        config = self.config_init[self.subcommand]["trainer"]
        if config["logger"] is None:
            kwargs["logger"] = loggers(config["default_root_dir"]) if self.subcommand == "fit" else False
        return super().instantiate_trainer(**kwargs)


def main(args: list[str]) -> int:
    """Run `fit`, `validate` or `test` with its options."""
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
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
    return 0
