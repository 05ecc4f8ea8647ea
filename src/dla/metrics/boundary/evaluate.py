"""Evaluates a folder of boundary maps against a folder of ground truth, in parallel, and goes on where it stopped."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int
from rich.console import Console
from rich.progress import track

from dla.data.boundaries.truth import files_of, list_truths, read_truth
from dla.files import make_folder, write_text
from dla.files.listing import composed, list_by_stem
from dla.metrics.boundary.counts import MAX_DIST, count_matches, spread_thresholds
from dla.metrics.boundary.predictions import SUFFIXES, read_prediction
from dla.metrics.boundary.results import write_results
from dla.metrics.boundary.scores import Scores, score
from dla.metrics.boundary.suppression import Suppression, suppress
from dla.metrics.boundary.workers import in_processes


@dataclass(frozen=True)
class Protocol:
    """How maps are measured.

    Args:
        thresholds: How many thresholds, evenly spread.
        max_dist: How far a pixel and its partner may lie apart, as a fraction of the image's diagonal.
        nms: Non-maximum suppression before the thresholds; None where the maps went through it already.
    """

    thresholds: int = 99
    max_dist: float = MAX_DIST
    nms: Suppression | None = None


class Task(NamedTuple):
    """One image to be counted."""

    prediction: Path
    truth: Path
    protocol: Protocol
    finished: Path  # where its counts are kept


def evaluate_folders(
    predictions: str | Path,
    truths: str | Path,
    output: str | Path,
    protocol: Protocol = Protocol(),
    *,
    names: Sequence[str] | None = None,
    workers: int = 1,
    console: Console | None = None,
) -> Scores:
    """Measure the prediction for each truth, paired by stem, and write what `write_results` says to `output`.

    The counts of each finished image are kept in `output/images/`. A later call uses them again where the settings and
    the content of both files are the same. Predictions that belong to no truth are left out.

    Args:
        predictions: Folder of boundary maps, as `read_prediction` takes them.
        truths: Folder of ground truth, as `dla.data.boundaries.truth.read_truth` takes it.
        output: Folder to write to; made where it is missing.
        protocol: How they are measured.
        names: Of the images that count, without folder and suffix; None for all that have a truth.
        workers: How many processes share the images. With more than one, a script needs the usual
            `if __name__ == "__main__":`.
        console: Where to show progress, and notes where the first map looks odd, or where results of another protocol
            are replaced; None for nowhere.

    Raises:
        FileNotFoundError: a folder, or the prediction for an image, is missing.
        ValueError: a file is damaged, sizes differ, or values lie outside [0, 1]; the message names the file. Or
            `output` is a file or one of the other folders.
        OSError: `output` cannot be written to.
        ModuleNotFoundError: without what the extra [train] installs.
    """
    if Path(output).is_file():
        raise ValueError(f"{output} is a file: name a folder to write to")
    if Path(output).resolve() in (Path(predictions).resolve(), Path(truths).resolve()):
        raise ValueError(f"{output} holds what is to be measured, which could be overwritten: give another output")
    thresholds = spread_thresholds(protocol.thresholds)  # a senseless number fails here, before anything is written
    tasks = pair(Path(predictions), Path(truths), Path(output), protocol, names)
    if console and (doubt := _doubt(next(iter(tasks.values())).prediction, protocol)):
        console.print(f"note: {doubt}", markup=False, highlight=False)
    if console and (replaced := _measured_otherwise(Path(output), protocol)):
        console.print(f"note: {replaced}", markup=False, highlight=False)
    make_folder(Path(output))
    (Path(output) / "images").mkdir(exist_ok=True)
    ready = dict(track(_count_all(tasks, workers), "matching", total=len(tasks), console=console, disable=not console))
    counts = {name: ready[name] for name in tasks}  # in their order, and not as they became ready
    scores = score(np.stack(list(counts.values())), thresholds)
    write_results(Path(output), scores, counts, asdict(protocol))
    return scores


def pair(
    predictions: Path, truths: Path, output: Path, protocol: Protocol, names: Sequence[str] | None = None
) -> dict[str, Task]:
    """One task for each truth, or for each of those that are named, by its stem.

    Raises:
        FileNotFoundError: a folder, or the truth or the prediction for an image, is missing.
        ValueError: two files have one stem, or no names are named.
    """
    if names is not None and not names:
        raise ValueError("names is empty: name some images, or give None for all")
    names = None if names is None else [*map(composed, names)]
    drawn, predicted = list_truths(truths), list_by_stem(predictions, SUFFIXES)
    if unknown := [name for name in names or () if name not in drawn]:
        raise FileNotFoundError(
            f"{len(unknown)} of {len(names or ())} names have no ground truth in {truths}; the first is {unknown[0]}: "
            "names go without folder and suffix"
        )
    drawn = drawn if names is None else {name: drawn[name] for name in sorted(names)}
    missing = [name for name in drawn if name not in predicted]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(drawn)} images have no prediction in {predictions}; the first, {missing[0]}, "
            f"belongs to {drawn[missing[0]]}: expected {missing[0]}.png, .npy or .mat; "
            "to measure a part of the images, name them (--names)"
        )
    kept = output / "images"
    return {name: Task(predicted[name], drawn[name], protocol, kept / f"{name}.json") for name in drawn}


def _doubt(prediction: Path, protocol: Protocol) -> str | None:
    """What is odd about a map by which numbers would be low, and slow to come by."""
    edges = read_prediction(prediction)
    if 0 < edges.max() <= 1 / 255:
        return (
            f"no pixel of {prediction} is above 1/255; in PNGs 255 stands for 1, so masks of 0 and 1 must be multiplied"
        )
    if protocol.nms is None and (edges > 0).mean() > 0.5:
        return (
            f"most pixels of {prediction} are above 0, as in maps straight from a network; those are usually measured "
            "with --nms hed"
        )
    return None


def _measured_otherwise(output: Path, protocol: Protocol) -> str | None:
    """That a folder has results of another protocol, which are not to be compared with those to come."""
    try:
        before = json.loads((output / "results.json").read_text(encoding="utf-8"))["settings"]
        other = [name for name, value in asdict(protocol).items() if before[name] != value]
    except (OSError, ValueError, KeyError, TypeError):  # there are none, or none of ours
        return None
    named = " and ".join(other)
    return f"{output} holds an evaluation with another {named}, which this one replaces" if other else None


def _count_all(tasks: Mapping[str, Task], workers: int) -> Iterator[tuple[str, Int[np.ndarray, "k 4"]]]:
    """The counts of every image, as they become ready; those of finished images first."""
    todo: dict[str, tuple[Task, dict[str, Any]]] = {}
    for name, task in tasks.items():
        origin = _origin(task)
        counts = _read_finished(task.finished, origin)
        if counts is None:
            todo[name] = task, origin
        else:
            yield name, counts
    for name, counts in in_processes(count_task, {name: task for name, (task, _) in todo.items()}, workers):
        task, origin = todo[name]
        write_text(task.finished, json.dumps({"origin": origin, "counts": counts.tolist()}))
        yield name, counts


def count_task(task: Task) -> Int[np.ndarray, "k 4"]:
    """Read, suppress and count one image; errors name its files."""
    edges, truths = read_prediction(task.prediction), read_truth(task.truth)
    try:
        if task.protocol.nms is not None:
            edges = suppress(edges, task.protocol.nms) / 255
        thresholds = spread_thresholds(task.protocol.thresholds)
        return count_matches(edges, truths, thresholds, task.protocol.max_dist)
    except ValueError as error:
        raise ValueError(f"{task.prediction} against {task.truth}: {error}") from error


def _origin(task: Task) -> dict[str, Any]:
    """What the counts of an image depend on."""
    contents = {"prediction": [task.prediction], "truth": files_of(task.truth)}
    read = {part: b"".join(path.read_bytes() for path in paths) for part, paths in contents.items()}
    return {**asdict(task.protocol), **{part: sha256(content).hexdigest() for part, content in read.items()}}


def _read_finished(path: Path, origin: dict[str, Any]) -> Int[np.ndarray, "k 4"] | None:
    """The counts of an earlier run, unless it measured something else or in another way."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return np.array(kept["counts"], dtype=np.int64) if kept["origin"] == origin else None
    except (OSError, ValueError, KeyError, TypeError):  # there is none, or not one of ours
        return None
