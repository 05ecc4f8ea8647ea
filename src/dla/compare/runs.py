"""The runs of a study: a folder and a configuration for each row and seed, and how far each has come."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml  # type: ignore[import-untyped]

from dla.compare.study import Row, Study
from dla.files import write_text

STOPWATCH = "dla.compare.stopwatch.Stopwatch"
MACHINES = "machines.json"  # what the stopwatch writes to a run's folder
PLACES = ("root", "default_root_dir")  # where things lie is not what is compared


class Run(NamedTuple):
    """One row trained with one seed, by `dla fit` with the configuration `config`.

    Attributes:
        folder: Of the run; `config_file` and `log` lie beside it.
        logged: What it logs of the val split, such as "val/accuracy".
    """

    row: Row
    seed: int
    folder: Path
    config: dict[str, Any]
    logged: str

    @property
    def name(self) -> str:
        """Row and seed in words."""
        return f"{self.row.name}, seed {self.seed}"

    @property
    def config_file(self) -> Path:
        """What `dla fit` reads."""
        return self.folder.with_suffix(".yaml")

    @property
    def log(self) -> Path:
        """What `dla fit` prints."""
        return self.folder.with_suffix(".log")

    @property
    def last(self) -> Path:
        """The checkpoint from which it goes on."""
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def state(self) -> str:
        """How far it has come."""
        states = {"finished": self.finished, "failed": self.failed, "stopped": self.last}
        return next((state for state, file in states.items() if file.exists()), "not begun")

    @property
    def failed(self) -> Path:
        """A file that is there where its last attempt ended with an error."""
        return self.folder / "failed"

    @property
    def machines(self) -> Path:
        """What the stopwatch writes."""
        return self.folder / MACHINES

    @property
    def finished(self) -> Path:
        """A file that is there once the run has come to its end."""
        return self.folder / "finished"


def plan(study: Study, output: Path, data_root: str | None = None) -> list[Run]:
    """All runs, in the order in which they are done: every row with the first seed, then with the next.

    Args:
        study: with the widths of its rows.
        output: folder of the study's results.
        data_root: takes the place of the data's `root`.

    Raises:
        ValueError: the data has no `root`.
    """
    if data_root is not None and "root" not in study.data["init_args"]:
        raise ValueError(f"{study.data['class_path']} has no root in this study: leave out --data.root")
    return [
        Run(row, seed, folder, _config(study, row, seed, folder, data_root), study.measure.logged)
        for seed in study.seeds
        for row in study.rows
        for folder in [output / "runs" / f"{row.name}-seed{seed}"]
    ]


def _config(study: Study, row: Row, seed: int, folder: Path, data_root: str | None) -> dict[str, Any]:
    """The configuration of `dla fit` for a row and a seed."""
    model = {**study.model["init_args"], "network": row.network, "options": row.options}
    data = {**study.data["init_args"], "seed": seed} | ({"root": data_root} if data_root is not None else {})
    stopwatch = {"class_path": STOPWATCH, "init_args": {"classes": study.classes, "image_size": study.image_size}}
    trainer = {
        **study.trainer,
        "callbacks": [*(study.trainer.get("callbacks") or []), stopwatch],
        "enable_progress_bar": False,
        "default_root_dir": str(folder),
    }
    return {
        "seed_everything": seed,
        "model": {"class_path": study.model["class_path"], "init_args": model},
        "data": {"class_path": study.data["class_path"], "init_args": data},
        "trainer": trainer,
    }


def write_config(run: Run) -> None:
    """Write the run's configuration for `dla fit`."""
    run.config_file.parent.mkdir(parents=True, exist_ok=True)
    write_text(run.config_file, yaml.safe_dump(run.config, sort_keys=False))


def refuse_changed(run: Run) -> None:
    """Raise where the run began with another configuration than the study has now.

    Raises:
        ValueError: it names what differs.
    """
    if not run.last.exists() and not run.finished.exists():
        return
    before = dict(_flat(_written(run)))
    now = dict(_flat(run.config))
    changed = [
        f"{key} was {before.get(key)!r} and is {now.get(key)!r}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key) and key.rpartition(".")[2] not in PLACES
    ]
    if changed:
        raise ValueError(
            f"{run.folder} was trained by another study: {'; '.join(changed)}. Put the study back, give another "
            "--output, or remove that folder to train it anew"
        )


def _written(run: Run) -> dict[str, Any]:
    """The configuration with which it began."""
    return yaml.safe_load(run.config_file.read_text(encoding="utf-8"))


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings, by keys such as model.init_args.lr."""
    if not isinstance(value, dict):
        yield key, value
        return
    for name, inner in value.items():
        yield from _flat(inner, f"{key}.{name}" if key else name)
