"""The command `dla compare`: trains the rows of a study under one budget and makes a table and a picture of them."""

import argparse
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import track

from dla.commands import DONE, FAILED, command_line, run_command
from dla.compare.costs import Costs, costs, matched
from dla.compare.outcome import outcomes
from dla.compare.picture import draw
from dla.compare.report import table, write_report
from dla.compare.runs import Run, plan, refuse_changed
from dla.compare.study import Study, read_study
from dla.compare.train import train_all
from dla.files import make_folder

EXAMPLES = """
what is written, anew after every finished run:
  DIR/table.md     what each row costs and reached, with command, budget and machine; "not run" where it is not
  DIR/results.csv  the same as plain numbers; DIR/curves.csv every epoch of every run
  DIR/picture.png  the measure over parameters, MACs, memory and speed, and the learning curves
  DIR/runs/        a folder for each row and seed, as dla fit leaves it, its configuration and log beside it

examples:
  dla compare studies/digits.yaml --output runs/compare_digits
  what it would cost, without training
    dla compare studies/figure1_cifar10.yaml --output runs/figure1 --dry-run
  two rows with one seed; the others can follow later, in the same folder
    dla compare studies/digits.yaml --output runs/compare_digits --rows dla,plain --seeds 0

The same command, given again after a stop, goes on: finished runs are kept, a stopped one goes on from its last epoch.
A study that has changed meanwhile is refused.

exit code:
  0 all runs that were asked for are finished; 2 something is wrong or a run failed, and the message says what; 130
  interrupted by Ctrl-C or SIGTERM
"""


def main(argv: list[str]) -> int:
    """Run `dla compare` with the arguments after these two words, and return the exit code.

    Standard output says where the results are; progress and errors go to standard error.

    Raises:
        SystemExit: from argparse, with 0 after `--help` and 2 for an argument it does not understand.
    """
    work = partial(_compare, _parser().parse_args(argv), command_line(["dla", "compare", *argv]))
    return run_command("compare", work, needs="training", left="the same command goes on from here")


def _compare(arguments: argparse.Namespace, command: str) -> int:
    study = matched(read_study(arguments.study))
    runs = plan(study, arguments.output, arguments.data_root)
    for run in runs:  # those that are not asked for, too, since all stand in one table
        refuse_changed(run)
    chosen = _chosen(study, runs, arguments.rows, arguments.seeds)
    counted = _counted(study)
    if arguments.dry_run:
        print("\n".join([*table(study, outcomes(runs, counted)), "", *(f"{run.name}: {run.state}" for run in chosen)]))
        return DONE
    return _train(study, counted, runs, chosen, arguments.output, command)


def _counted(study: Study) -> dict[str, Costs]:
    """What each row costs; progress goes to standard error."""
    rows = track(study.rows, "counting what rows cost", console=Console(stderr=True), transient=True)
    return {row.name: costs(row, study) for row in rows}


def _train(
    study: Study, counted: dict[str, Costs], runs: list[Run], chosen: list[Run], output: Path, command: str
) -> int:
    """Train what is chosen, and write the results of all that is finished."""
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    make_folder(output)
    _write(study, counted, runs, output, command)
    for _ in train_all(chosen, study.epochs, console.print):
        _write(study, counted, runs, output, command)
    print(f"{sum(run.finished.exists() for run in runs)} of {len(runs)} runs finished; see {output / 'table.md'}")
    return FAILED if any(run.state == "failed" for run in chosen) else DONE


def _write(study: Study, counted: dict[str, Costs], runs: list[Run], output: Path, command: str) -> None:
    rows = outcomes(runs, counted)
    write_report(output, study, rows, runs, command)
    draw(output / "picture.png", rows, study)


def _chosen(study: Study, runs: list[Run], rows: list[str] | None, seeds: list[str] | None) -> list[Run]:
    """The runs of these rows and seeds, all for None.

    Raises:
        ValueError: the study has no such row or seed.
    """
    for what, asked, there in (
        ("row", rows, [row.name for row in study.rows]),
        ("seed", seeds, [str(seed) for seed in study.seeds]),
    ):
        if unknown := [name for name in asked or [] if name not in there]:
            raise ValueError(f"the study has no {what} {', '.join(unknown)}; it has {', '.join(there)}")
    return [run for run in runs if (not rows or run.row.name in rows) and (not seeds or str(run.seed) in seeds)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dla compare",
        description="Train the networks of a study under one budget, and compare what they cost and reach.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = lambda text: text.split(",")  # noqa: E731
    add = parser.add_argument
    add("study", type=Path, metavar="STUDY", help="a YAML file; docs/compare.md says what is in it")
    add("--output", required=True, type=Path, metavar="DIR", help="folder to write to; made where it is missing")
    add("--rows", type=names, metavar="A,B", help="train these rows alone")
    add("--seeds", type=names, metavar="0,1", help="train these seeds alone")
    add("--data.root", dest="data_root", metavar="DIR", help="folder of the data, in place of the study's")
    add("--dry-run", action="store_true", help="print what rows cost and how far runs are; train nothing")
    return parser
