"""What a study measures: its task says so, a class that the study names."""

from importlib import import_module
from typing import Any, NamedTuple

CLASSES = {"model": "dla.tasks.ClassificationTask", "data": "dla.data.CIFARData"}


class Measure(NamedTuple):
    """What the study's task measures on the val split, the higher the better.

    Attributes:
        logged: As runs log it, such as "val/miou", from 0 to 1.
        headline: In words.
        dense: Whether networks answer for every pixel.
    """

    logged: str
    headline: str
    dense: bool


def imported(part: str, class_path: str) -> Any:
    """The class, imported as `dla fit` will: a module of one's own may register networks with timm, which rows name.

    Args:
        part: of the study, "model" or "data".
        class_path: module and class.

    Raises:
        ValueError: there is no such module or class.
        ModuleNotFoundError: a module of ours lacks a package, of an extra that is not installed.
    """
    module, _, name = class_path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        if (
            module.startswith("dla.")
            and isinstance(error, ModuleNotFoundError)
            and not str(error.name).startswith("dla")
        ):
            raise
        raise ValueError(
            f"{part}.class_path is {class_path}, but {module} cannot be imported or has no {name} ({error}): correct "
            "it, or set PYTHONPATH to the folder of a module of your own"
        ) from error


def measure_of(task: Any) -> Measure:
    """What a task measures.

    Raises:
        ValueError: it is no class of a task.
    """
    from dla.tasks.base import Task  # here, since what trains takes seconds to import, and may not be installed

    if not (isinstance(task, type) and issubclass(task, Task)):
        raise ValueError(f"model.class_path names {task!r}; expected a task such as {CLASSES['model']}")
    return Measure(task.monitor, task.headline, dense=task.kind != "classification")
