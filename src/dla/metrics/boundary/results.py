"""What an evaluation leaves in its folder: `results.json`, the curve as CSV and as a picture."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from dla.files import write_text
from dla.files.tables import write_csv
from dla.metrics.boundary.plot import draw_curves
from dla.metrics.boundary.scores import Scores, score

NUMBERS = ("ods", "ois", "ap", "r50", "ods_threshold", "ods_recall", "ods_precision", "ois_recall", "ois_precision")


def write_results(
    output: Path, scores: Scores, counts: Mapping[str, Int[np.ndarray, "k 4"]], settings: dict[str, Any]
) -> None:
    """Write `results.json`, `curve.csv` and `curve.png` to a folder.

    `results.json` holds the numbers of `Scores` under their names, `settings`, `thresholds`, and under `images`, for
    each stem, `counts`: matched truth, truth, matched predicted and predicted pixels at each threshold.
    """
    table = {name: getattr(scores, name) for name in NUMBERS}
    table |= {"settings": settings, "thresholds": scores.curve.thresholds.tolist()}
    table |= {"images": {name: {"counts": rows.tolist()} for name, rows in counts.items()}}
    write_text(output / "results.json", json.dumps(table, indent=1) + "\n")
    points = zip(*(part.tolist() for part in vars(scores.curve).values()), strict=True)
    write_csv(output / "curve.csv", [["threshold", "recall", "precision", "f"], *points])
    draw_curves({output.resolve().name: scores}, output / "curve.png")


def read_results(path: str | Path) -> Scores:
    """The scores of a `results.json`, computed again from its counts.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a `results.json` of ours.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}: name a results.json that `dla evaluate-boundaries` wrote")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        counts = np.array([image["counts"] for image in table["images"].values()], dtype=np.int64)
        return score(counts, np.array(table["thresholds"], dtype=float))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{path} is no results.json of `dla evaluate-boundaries` ({error!r})") from error
