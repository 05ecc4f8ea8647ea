"""The images on which an exported network is measured: of a folder, or of the data that a run was trained with."""

from pathlib import Path
from typing import Any

from dla.files import read_text
from dla.predict import Predictor


def val_set(predictor: Predictor, source: str | Path, *, void: int) -> Any:
    """The val split of a set; items are an image, (C, H, W) from 0 to 255, and its truth.

    Where the network was trained on reduced images they are reduced, and so measured as `dla validate` does.

    Args:
        predictor: knows the classes, and to what size images were reduced.
        source: a configuration of `dla fit`, whose data it is; or a folder that holds val/CLASS/NAME.jpg for a
            classifier; val/NAME.jpg and valannot/NAME.png, 8-bit class indices, for segmentation; images/val/NAME.jpg
            and groundTruth/val/NAME.mat, or .png, for boundaries.
        void: what the annotations of such a folder hold where no class is given, in segmentation.

    Raises:
        ValueError: the network is not trained, or the set does not fit its task or its classes.
        FileNotFoundError: the split is not there.
    """
    if not predictor.classes:
        raise ValueError("accuracy is measured of trained networks, which this one is not: leave out --test")
    from dla.data.segmentation.reduced import Reduced  # the sets need the extra [train]

    found = _stored(predictor, Path(source), void)
    return Reduced(found, predictor.max_size) if predictor.task == "segmentation" and predictor.max_size else found


def _stored(predictor: Predictor, source: Path, void: int) -> Any:
    from dla.data.boundaries.bsds import find_root
    from dla.data.boundaries.folders import BoundaryFolders
    from dla.data.classification.folders import LabelledFolder
    from dla.data.places import split_place, split_places
    from dla.data.segmentation.folders import PairedFolders

    if source.is_file():
        return _configured(predictor, source)
    if predictor.task == "classification":
        return LabelledFolder(split_place(source, "{split}", "val"), predictor.classes, predictor.bands)
    if predictor.task == "boundaries":
        places = split_places(find_root(source), ["images/{split}", "groundTruth/{split}"], "val")
        return BoundaryFolders(*places, bands=predictor.bands)
    return PairedFolders(source, "val", classes=predictor.classes, void=void, bands=predictor.bands)


def _configured(predictor: Predictor, file: Path) -> Any:
    data = _data(file)
    if predictor.task not in data.tasks:
        raise ValueError(f"{file} has data for {' and '.join(data.tasks)}; expected some for {predictor.task}")
    if tuple(data.classes) != tuple(predictor.classes):
        raise ValueError(
            f"{file} has data of the classes {', '.join(data.classes)}; expected those of the network, "
            f"{', '.join(predictor.classes)}"
        )
    if data.bands != predictor.bands:
        raise ValueError(f"{file} has images of the bands {data.bands}; expected the network's, {predictor.bands}")
    return data.read("val")


def _data(file: Path) -> Any:
    """The data module that a configuration describes; the rest of it does not matter."""
    import yaml  # type: ignore[import-untyped]
    from jsonargparse import ArgumentError, ArgumentParser

    from dla.data.base import SetData
    from dla.tasks.errors import misused

    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(SetData, "data", required=True)
    try:
        config = parser.parse_object({"data": yaml.safe_load(read_text(file))["data"]})
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ArgumentError) as error:
        why = misused(str(error))
        raise ValueError(f"{file} is no configuration of dla fit that names its data ({why})") from error
    return parser.instantiate(config).data
