"""Reads text, with errors that name the file."""

from pathlib import Path

from dla.names import repeated


def read_text(path: str | Path) -> str:
    """The contents of a text file, without the byte order mark that some editors write.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:  # which names no file
        raise ValueError(f"{path} cannot be read as text ({error}); expected UTF-8: save it so") from None


def read_names(path: Path, of: str) -> list[str]:
    """The names that a list holds, one a line.

    Args:
        path: The list.
        of: What they name, for the errors, such as "image".

    Raises:
        FileNotFoundError: there is no such list.
        ValueError: it is empty, or holds a name twice.
    """
    if not path.exists() or path.is_dir():  # a pipe will do
        raise FileNotFoundError(f"there is no list {path}: expected a file with the name of one {of} a line")
    names = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not names:
        raise ValueError(f"{path} lists no {of}; expected one name a line")
    if twice := repeated(names):
        raise ValueError(f"{path} lists {twice[0]} more than once: keep one line of it")
    return names
