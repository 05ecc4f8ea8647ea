"""Files that programs for labelling write beside annotations: the classes, and the colour or number of each."""

import re
from collections.abc import Sequence
from pathlib import Path

from dla.data.sample import IGNORE_INDEX
from dla.data.segmentation.indices import Value, Void
from dla.files import read_text
from dla.images import RGB
from dla.names import repeated

FORMS = (
    r"(?P<name>[^:]+):\s*(?P<value>\d+\s*,\s*\d+\s*,\s*\d+|)\s*(?::.*)?",  # labelmap.txt: crack:250,50,83:: or crack:::
    r"(?P<value>\d+\s+\d+\s+\d+)\s+(?P<name>.+)",  # label_colors.txt: 250 50 83 crack
    r"(?P<name>[^,]+),\s*(?P<value>\d+\s*,\s*\d+\s*,\s*\d+)",  # class_dict.csv: crack,250,50,83
    r"(?P<value>\d+)\s*,\s*(?P<name>.+)",  # _classes.csv: 1, crack
)
"""What a line of each is."""

HEADER = r"pixel value\s*,.*|name\s*,\s*r\s*,\s*g\s*,\s*b"


def named_classes(
    root: str | Path,
    classes: Sequence[str] | None,
    values: Sequence[Value] | None,
    class_file: str | None,
    void: Void,
) -> tuple[Sequence[str], Sequence[Value] | None]:
    """The classes and what annotations hold for each, None for the index: as given, or as a file within root says.

    Of what the file names, that with the value of void is no class.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: neither names classes, or both do; or as by `read_class_file`.
    """
    if class_file is None:
        if classes is None:
            raise ValueError(
                "the classes have no names: give them in the order of their indices, as --data.classes '[wall, crack]'"
                ", or the file that names them, as --data.class_file labelmap.txt"
            )
        return classes, values
    if classes is not None or values is not None:
        raise ValueError(f"class_file {class_file} names the classes and their values: give no others beside it")
    none = None if void == IGNORE_INDEX else void  # 255 of itself may be a class's
    counted = {name: value for name, value in read_class_file(Path(root, class_file)).items() if value != none}
    return [*counted], [*counted.values()]


def read_class_file(path: Path) -> dict[str, Value]:
    """The classes that a file names, in its order, and what annotations hold for each, a number or a colour.

    It is labelmap.txt, label_colors.txt, class_dict.csv or _classes.csv. Without colours, as Datumaro writes the first,
    classes have Pascal VOC's.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is of another form, or names a class or a value twice.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path} of the classes: name it within root, or name the classes")
    lines = [line.strip() for line in read_text(path).splitlines()]
    lines = [line for line in lines if line and not line.startswith("#") and not re.fullmatch(HEADER, line, re.I)]
    form = next((form for form in FORMS if lines and re.fullmatch(form, lines[0])), FORMS[0])
    parts = [_parts(path, form, line, index) for index, line in enumerate(lines)]
    _expect_distinct(path, parts)
    return dict(parts)


def pascal_color(index: int) -> RGB:
    """The colour of a class in Pascal VOC: its lowest three bits are the highest of red, green and blue, and so on."""
    red, green, blue = (
        sum((index >> (3 * place + channel) & 1) << (7 - place) for place in range(8)) for channel in range(3)
    )
    return red, green, blue


def _parts(path: Path, form: str, line: str, index: int) -> tuple[str, Value]:
    found = re.fullmatch(form, line)
    if found and not found["value"]:
        return found["name"].strip(), pascal_color(index)
    levels = [int(level) for level in re.findall(r"\d+", found["value"])] if found else []
    if found is None or max(levels) > 255:
        raise ValueError(
            f"{path} holds the line {line!r}; expected a class in each as NAME:RED,GREEN,BLUE, RED GREEN BLUE NAME, "
            "NAME,RED,GREEN,BLUE or NUMBER,NAME, all alike and of numbers up to 255"
        )
    return found["name"].strip(), (levels[0] if len(levels) == 1 else (levels[0], levels[1], levels[2]))


def _expect_distinct(path: Path, parts: Sequence[tuple[str, Value]]) -> None:
    if not parts:
        raise ValueError(f"{path} names no class; expected one a line, as NAME:RED,GREEN,BLUE")
    if twice := repeated(name for name, _ in parts) or repeated(str(value) for _, value in parts):
        raise ValueError(f"{path} has {twice[0]} more than once; expected a name and a value of its own for each class")
