"""A study: what is compared (rows), and what all rows share (data, task, trainer, seeds), read from a YAML file."""

import re
from collections.abc import Set
from pathlib import Path
from typing import Any, NamedTuple

import yaml  # type: ignore[import-untyped]

from dla.compare.measure import CLASSES, Measure, imported, measure_of
from dla.files import read_text
from dla.models.options import check_options
from dla.names import repeated

REQUIRED = {"title", "image_size", "classes", "seeds", "model", "data", "trainer", "rows"}
OPTIONAL = {"target", "match"}
TOLERANCE = 0.03
OF_ROWS = ("network", "num_classes")  # arguments of a task that rows or the data give


class Row(NamedTuple):
    """One network; all else it shares with the other rows.

    Attributes:
        name: Names its folders.
        label: What table and picture call it.
        network: As `dla.create_model` takes it.
        options: Of the network, those that the study gives to all rows among them.
    """

    name: str
    label: str
    network: str
    options: dict[str, Any]


class Match(NamedTuple):
    """Widths of the other rows are searched until they have the parameters of `row`, within the part `tolerance`."""

    row: str
    tolerance: float


class Study(NamedTuple):
    """Rows, and what they share; `model`, `data` and `trainer` as in a recipe for `dla fit`.

    Attributes:
        image_size: Side of the images, in pixels, for which MACs and memory are counted.
        measure: By which rows are compared.
        target: Of the measure, in percent; how many epochs a row takes to reach it is counted.
    """

    title: str
    image_size: int
    classes: int
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    measure: Measure
    model: dict[str, Any]
    data: dict[str, Any]
    trainer: dict[str, Any]
    target: float | None
    match: Match | None

    @property
    def epochs(self) -> int:
        """How long each run is."""
        return self.trainer["max_epochs"]


def read_study(path: str | Path) -> Study:
    """Read and check a study.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not YAML, or a key is missing, unknown, or not what it should be.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no study {path}: give a YAML file, such as studies/digits.yaml")
    try:
        return _study(yaml.safe_load(read_text(path)))
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {error}") from error


def _study(content: Any) -> Study:
    _known_keys("a study", content, REQUIRED, OPTIONAL)
    task, _ = (_class_of(part, content[part]) for part in ("model", "data"))
    _shared_by_rows(content["model"]["init_args"])
    _measured(content["trainer"])
    _check_numbers(content)
    rows = _rows(content["rows"], content["model"]["init_args"].get("options") or {})
    return Study(
        title=str(content["title"]),
        seeds=_seeds(content["seeds"]),
        rows=rows,
        measure=measure_of(task),
        target=content.get("target"),
        match=_match(content.get("match"), rows),
        **{key: content[key] for key in ("image_size", "classes", "model", "data", "trainer")},
    )


def _class_of(part: str, content: Any) -> Any:
    _known_keys(part, content, {"class_path", "init_args"})
    _mapping(f"{part}.init_args", content["init_args"])
    class_path = content["class_path"]
    if not re.fullmatch(r"\w+(\.\w+)+", str(class_path)):
        raise ValueError(f"{part}.class_path is {class_path!r}; expected a class such as {CLASSES[part]}")
    return imported(part, class_path)


def _check_numbers(content: dict[str, Any]) -> None:
    counts = {"trainer.max_epochs": content["trainer"].get("max_epochs")}
    for name, number in (counts | {key: content[key] for key in ("image_size", "classes")}).items():
        if not isinstance(number, int) or number < 1:
            raise ValueError(f"{name} is {number!r}; expected a whole number of at least 1")
    target = content.get("target")
    if target is not None and not (isinstance(target, int | float) and 0 < target <= 100):
        raise ValueError(f"target is {target!r}; expected a number of percent")


def _known_keys(what: str, content: Any, required: Set[str], optional: Set[str] = frozenset()) -> None:
    if not isinstance(content, dict):
        raise ValueError(f"{what} is a mapping with the keys {', '.join(sorted(required))}, not {content!r}")
    if missing := required - content.keys():
        raise ValueError(f"{what} lacks {', '.join(sorted(missing))}")
    if unknown := content.keys() - required - optional:
        known = ", ".join(sorted(required | optional))
        raise ValueError(f"{what} has no {', '.join(sorted(map(str, unknown)))}; it has {known}")


def _mapping(what: str, content: Any) -> None:
    if not isinstance(content, dict):
        raise ValueError(f"{what} is {content!r}; expected a mapping of arguments to values, as in a recipe")


def _shared_by_rows(arguments: dict[str, Any]) -> None:
    _mapping("model.init_args.options", arguments.get("options") or {})
    if named := [name for name in OF_ROWS if name in arguments]:
        raise ValueError(
            f"model.init_args has {named[0]}, which all rows would share: rows name networks, NAME+ida for the fused "
            "maps of a backbone, and classes are counted in the data"
        )


def _measured(trainer: Any) -> None:
    _mapping("trainer", trainer)
    if trainer.get("limit_val_batches", 1) in (0, False):
        raise ValueError(f"no run would be measured: limit_val_batches is {trainer['limit_val_batches']}; leave it out")
    for option in ("max_steps", "max_time"):
        if trainer.get(option) not in (None, -1):
            raise ValueError(f"trainer.{option} is {trainer[option]}, but a study's budget is max_epochs: leave it out")
    for option in ("logger", "enable_checkpointing"):
        if trainer.get(option) not in (None, True):
            raise ValueError(
                f"trainer.{option} is {trainer[option]}, but a study reads what its runs log and keep: leave it out"
            )


def _seeds(seeds: Any) -> tuple[int, ...]:
    fine = isinstance(seeds, list) and seeds and all(isinstance(seed, int) and seed >= 0 for seed in seeds)
    if not fine or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds is {seeds!r}; expected a list of different numbers of at least 0, such as [0, 1]")
    return tuple(seeds)


def _rows(rows: Any, shared: dict[str, Any]) -> tuple[Row, ...]:
    if not isinstance(rows, dict) or not rows:
        raise ValueError("rows is a mapping from a row's name to its network")
    found = tuple(_row(name, row, shared) for name, row in rows.items())
    if twice := repeated(row.label for row in found):
        raise ValueError(
            f"two rows have the label {twice[0]!r}, by which the table tells them apart: give each its own"
        )
    return found


def _row(name: Any, row: Any, shared: dict[str, Any]) -> Row:
    if not re.fullmatch(r"[\w-]+", str(name)):
        raise ValueError(f"row {name!r} names a folder: letters, digits, _ and - alone")
    _known_keys(f"row {name}", row, {"network"}, {"label", "options"})
    own = row.get("options") or {}
    _mapping(f"row {name}: options", own)
    if not isinstance(row["network"], str):
        raise ValueError(f"row {name}: network is {row['network']!r}; expected a name such as dla34")
    options = {**shared, **own}
    check_options(options, f"row {name}: options")
    return Row(str(name), str(row.get("label", name)), row["network"], options)


def _match(match: Any, rows: tuple[Row, ...]) -> Match | None:
    if match is None:
        return None
    _known_keys("match", match, {"row"}, {"tolerance"})
    found = Match(str(match["row"]), match.get("tolerance", TOLERANCE))
    if not isinstance(found.tolerance, int | float) or found.tolerance < 0:
        raise ValueError(f"match.tolerance is {found.tolerance!r}; expected a share such as 0.03")
    if found.row not in [row.name for row in rows]:
        raise ValueError(f"match names the row {found.row!r}; there are {', '.join(row.name for row in rows)}")
    for row in rows:
        if row.name != found.row and "width" in row.options:
            raise ValueError(f"the width of row {row.name} is searched: leave it out, or leave out match")
    return found
