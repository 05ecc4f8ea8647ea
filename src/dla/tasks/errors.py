"""What went wrong in a run, in the words of the code that knows, or of the parser without its lists."""

import importlib
import inspect
import re
import traceback
from collections.abc import Iterator
from pathlib import Path

import dla.data
import dla.tasks
from dla.names import meant

# The last frame, its source, and the message, in what torch makes of an error in a process that loads data.
LOADING = re.compile(
    r"Caught \w+ in DataLoader worker process [\s\S]*\n"
    r'  File "(?P<file>[^"\n]*)", line \d+, in [^\n]*\n(?:    [^\n]*\n)*[\w.]+: (?P<said>[\s\S]*)'
)

# What torch says where such a process is gone, by which of two ways it noticed.
GONE = re.compile(r"DataLoader worker \(pid.*\) (?:is )?(killed by signal: [^.]+|exited unexpectedly)")

# What jsonargparse says of other ways in which an option could have been right, and of its own representation.
BESIDE = re.compile(
    r"Does not validate against any|Subtypes: |Errors:$|Expected a <class 'NoneType'>|Expected a path but|"
    r"Given value type: |Given value: (NestedArg|Namespace|[\[{])"
)
ONE_VALUE = re.compile(r"Expected more than 1 value per channel when training, got input size torch\.Size\((.*)\)")
UNKNOWN = re.compile(r"class_path '(?P<path>[\w.]+)': Option '(?P<name>\w+)' is not accepted")
NO_CLASS = re.compile(r"Expected a dot import path string: (?P<name>\w+)")


def said(error: BaseException | None) -> str | None:
    """What the outermost of an error and its causes says that our own code raised, or what to install; None of others.

    jsonargparse wraps an error of a constructor into one that lists all its arguments, and ours may wrap Pillow's.
    """
    if error is None:
        return None
    if _is_ours(error) or _says_what_to_install(error):
        return str(error)
    if found := ONE_VALUE.fullmatch(str(error)):
        return f"batch norm cannot train on a map of the size {found[1]}: raise --data.batch_size, or the images' size"
    return _said_by_worker(str(error)) or said(error.__cause__)


def stopped_with_loaders(error: BaseException) -> bool:
    """Whether a process that loads data was ended by SIGTERM, which batch systems send to all processes of a run."""
    # On macOS the signal's number follows: "Terminated: 15".
    return bool((found := GONE.match(str(error))) and "signal: Terminated" in found[1])


def loader_ended(error: BaseException) -> str | None:
    """What to do where a process that loads data is gone, which torch tells by a RuntimeError; None of other errors."""
    if not (found := GONE.match(str(error))):
        return None
    return (
        f"a process that loads data ended early ({found[1]}), as the system ends one where memory, or shared memory "
        "(/dev/shm, 64 MiB in Docker without --shm-size), is full: make room there, or lower --data.workers or "
        "--data.batch_size"
    )


def misused(message: str) -> str:
    """One line of what jsonargparse says of a wrong option, with the name that may have been meant."""
    lines = [line.strip(" -") for line in message.splitlines()]
    text = " ".join(line for line in lines if line and not BESIDE.match(line))
    if unknown := UNKNOWN.search(text):
        return text + meant(unknown["name"], _options(unknown["path"]), 1)
    if unknown := NO_CLASS.search(text):
        return text + meant(unknown["name"], [*dla.data.__all__, *dla.tasks.__all__], 1)
    return text


def _options(path: str) -> Iterator[str]:
    """The names of the options of a class, its parents' too."""
    module, _, name = path.rpartition(".")
    for parent in getattr(importlib.import_module(module), name).__mro__:
        yield from inspect.signature(parent.__init__).parameters


def _said_by_worker(text: str) -> str | None:
    """What our own code said in a process that loads data; of its error torch passes on the traceback, as text."""
    found = LOADING.fullmatch(text)
    ours = found and Path(__file__).parents[1] in Path(found["file"]).parents
    return found["said"].rstrip() if found and ours else None


def _says_what_to_install(error: BaseException) -> bool:
    """Whether a package is missing that an option needs, as a logger does, and the message says how to get it."""
    return isinstance(error, ModuleNotFoundError) and "pip install" in str(error)


def _is_ours(error: BaseException) -> bool:
    """Whether our own code raised the error, which then speaks to the user; any other needs its traceback."""
    frames = list(traceback.walk_tb(error.__traceback__))
    return bool(frames) and frames[-1][0].f_globals.get("__name__", "").split(".")[0] == "dla"
