"""The command line: `dla COMMAND`; for `fit`, `validate` and `test` a recipe is a YAML file plus overrides."""

import sys
from collections.abc import Sequence

from dla import __version__

HELP = """usage: dla COMMAND ...

commands:
  fit        train:           dla fit --config recipes/segmentation/scenes.yaml
  validate   measure on val:  dla validate --config RUN/config.yaml --ckpt_path RUN/checkpoints/best.ckpt
  test       measure on test, with the same arguments
  predict    masks, boundaries or classes of pictures:
                              dla predict photo.jpg --model NAME_OR_CHECKPOINT --output out
  models     print the table of networks
  aggregate  what each structure makes of a backbone:
                              dla aggregate convnext_tiny
  evaluate-boundaries         ODS, OIS and AP of boundary maps:
                              dla evaluate-boundaries PREDICTIONS GROUND_TRUTH --output DIR
  plot-boundaries             several evaluations in one picture:
                              dla plot-boundaries A/results.json B/results.json --output both.png

dla COMMAND --help lists a command's options; those of the task and of the data are listed by
  dla fit --model.help SegmentationTask      (or BoundaryTask, ClassificationTask)
  dla fit --data.help FolderData             your own images and masks; CamVidData, CityscapesData, ScenesData
  dla fit --data.help BoundaryFolderData     your own boundaries; BSDSData, BoundaryScenesData
  dla fit --data.help ImageFolderData        your own classes; CIFARData, DigitsData"""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command that the first word names; the exit code is 0 where all went well."""
    args = list(sys.argv[1:] if args is None else args)
    command, rest = (args[0], args[1:]) if args else ("--help", [])
    if command == "predict":
        from dla.predict import main as predict

        return predict(rest)
    if command == "evaluate-boundaries":
        from dla.evaluate_boundaries import main as evaluate_boundaries

        return evaluate_boundaries(rest)
    if command == "plot-boundaries":
        from dla.evaluate_boundaries import plot

        return plot(rest)
    if command == "models":
        from dla.models.table import main as models

        return models(rest)
    if command == "aggregate":
        from dla.models.tried import main as tried

        return tried(rest)
    if command in ("fit", "validate", "test"):
        try:
            from dla.tasks.cli import main as train
        except ModuleNotFoundError as error:
            print(f"dla {command}: {error}; install what training needs by the extra [train]", file=sys.stderr)
            return 1
        return train(args)
    if command == "--version":
        print(__version__)
        return 0
    if command in ("-h", "--help"):
        print(HELP)
        return 0
    print(f"dla: {command!r} is not a command\n\n{HELP}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
