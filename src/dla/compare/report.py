"""Writes what a study came to: table.md, results.csv, curves.csv."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dla.compare.logged import read_machines
from dla.compare.outcome import Outcome
from dla.compare.runs import Run
from dla.compare.study import Study
from dla.files import write_text
from dla.files.tables import markdown, write_csv

NOT_RUN = "not run"
COUNTED = ("row", "label", "network", "width", "parameters", "macs", "memory_mib", "recomputing")
MEASURED = (
    "seeds",
    "images_per_second",
    "seconds",
    "best",
    "best_deviation",
    "last",
    "last_deviation",
    "epochs_to_target",
)


def write_report(folder: Path, study: Study, rows: Sequence[Outcome], runs: Sequence[Run], command: str) -> None:
    """Write all three into `folder`, each whole or not at all.

    Args:
        folder: must exist.
        study: with the widths of its rows.
        rows: what is finished.
        runs: all of the study; those that are finished say on which machine.
        command: that was given.
    """
    head = [f"# {study.title}", "", *heading(study, [run for run in runs if run.finished.exists()], command), ""]
    write_text(folder / "table.md", "\n".join([*head, *table(study, rows), ""]))
    write_csv(folder / "results.csv", _results(study, rows))
    write_csv(folder / "curves.csv", _curves(study, rows))


def heading(study: Study, finished: Sequence[Run], command: str) -> list[str]:
    """Lines in Markdown: by which command, with which budget, on what, measured how."""
    machines = [machine for run in finished for machine in read_machines(run)]
    folders = list(dict.fromkeys(machine["root"] for machine in machines if machine["root"] is not None))
    epochs = f"{study.epochs} epochs" + (f" of {_said(machines, 'train_images')} training images" if machines else "")
    lines = [
        f"- command: `{command}`",
        f"- budget of every row: {epochs}; {_settings(study)}",
        f"- {study.measure.headline}: in percent, of the val split of {study.data['class_path'].rpartition('.')[2]}"
        + (f", {_said(machines, 'val_images')} images" if machines else "")
        + ", by which the best epoch is chosen too; mean ± standard deviation over seeds",
        f"- MACs and memory: of one image of {study.image_size}x{study.image_size}; memory is what a training step "
        "needs in float32 beside parameters and gradients; rows marked so are recomputing what is cheap, as ours do by "
        "default but on a GPU, and the others keep all",
    ]
    if len(folders) > 1:
        lines.append(f"- **data of different folders**, so that rows may not compare: {', '.join(folders)}")
    if machines:
        speed = f"{_said(machines, 'device')}, threads: {_said(machines, 'threads')}, {_said(machines, 'precision')}"
        versions = {f"{name} {number}" for machine in machines for name, number in machine["versions"].items()}
        lines += [f"- images per second: in training, on {speed}", f"- versions: {', '.join(sorted(versions))}"]
    return lines


def _said(machines: Iterable[dict[str, Any]], key: str) -> str:
    """What the runs say of themselves; more than one thing where they differ."""
    return " / ".join(dict.fromkeys(f"{m[key]:,}" if isinstance(m[key], int) else m[key] for m in machines))


def _settings(study: Study) -> str:
    model = {key: value for key, value in study.model["init_args"].items() if key not in ("network", "options")}
    trainer = {key: value for key, value in study.trainer.items() if key != "max_epochs"}
    batch = {key: value for key, value in study.data["init_args"].items() if key == "batch_size"}
    return ", ".join(f"{key} {value}" for key, value in (model | batch | trainer).items())


def table(study: Study, rows: Sequence[Outcome]) -> list[str]:
    """Lines of the Markdown table; a row that is not finished says "not run"."""
    names = ["row", "network", "parameters", "MACs", "memory", "images/s", "seconds", "seeds", "best", "last"]
    names += [f"epochs to {study.target:g} %"] if study.target else []
    return list(markdown(names, (_cells(study, row) for row in rows)))


def _cells(study: Study, row: Outcome) -> list[str]:
    width = f", width {row.row.options['width']:g}" if "width" in row.row.options else ""
    counted = [
        row.row.label,
        row.row.network + width,
        f"{row.costs.parameters:,}",
        f"{row.costs.macs / 1e6:,.1f} M",
        f"{row.costs.memory / 2**20:.2f} MiB{' (recomputing)' if row.costs.recomputes else ''}",
    ]
    if not row.curves:
        state = f"failed: seed {', '.join(map(str, row.failed))}" if row.failed else NOT_RUN
        return [*counted, *[state] * (6 if study.target else 5)]
    measured = [f"{row.images_per_second():,.0f}", f"{row.seconds():,.0f}", _seeds(study, row)]
    reached = [", ".join(str(epoch or "never") for epoch in row.reached(study.target))] if study.target else []
    return [*counted, *measured, str(row.best()), str(row.last()), *reached]


def _seeds(study: Study, row: Outcome) -> str:
    done = f"{len(row.curves)} of {len(study.seeds)}"
    ends = [curve[-1].number for curve in row.curves.values()]
    if min(ends) < study.epochs:  # a callback may stop a run
        done += f", epochs: {', '.join(map(str, ends))}"
    return done + (f", failed: {', '.join(map(str, row.failed))}" if row.failed else "")


def _results(study: Study, rows: Sequence[Outcome]) -> list[list[Any]]:
    """As the table, with plain numbers; of several seeds the epochs to the target stand side by side."""
    lines: list[list[Any]] = [[*COUNTED, *MEASURED]]
    for row in rows:
        costs = [row.costs.parameters, row.costs.macs, f"{row.costs.memory / 2**20:.3f}", row.costs.recomputes]
        counted = [row.row.name, row.row.label, row.row.network, row.row.options.get("width", ""), *costs]
        measured: list[Any] = [0, *["failed" if row.failed else NOT_RUN] * (len(MEASURED) - 1)]
        if row.curves:
            reached = " ".join(str(epoch or "never") for epoch in row.reached(study.target)) if study.target else ""
            measured = [len(row.curves), f"{row.images_per_second():.1f}", f"{row.seconds():.1f}"]
            measured += [*_numbers(row.best()), *_numbers(row.last()), reached]
        lines.append([*counted, *measured])
    return lines


def _numbers(spread: tuple[float, float | None]) -> list[str]:
    return ["" if value is None else f"{value:.3f}" for value in spread]


def _curves(study: Study, rows: Sequence[Outcome]) -> list[list[Any]]:
    score = study.measure.logged.replace("/", "_")
    lines: list[list[Any]] = [["row", "seed", "epoch", "train_loss", score, "images_per_second", "seconds"]]
    for row in rows:
        for seed, curve in row.curves.items():
            lines += [[row.row.name, seed, *("" if value is None else value for value in epoch)] for epoch in curve]
    return lines
