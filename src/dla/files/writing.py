"""Writes files whole or not at all, and says before long work whether it can."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile, mkdtemp

FULL = (errno.ENOSPC, errno.EDQUOT)  # what writing meets where a disk, or a user's share of it, is full


def refuse_folder(target: Path) -> None:
    """See that no folder has the name of what is to be written.

    Raises:
        IsADirectoryError: one has.
    """
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {target}: it is a folder; remove it or choose another name")


def check_writable(folder: Path) -> None:
    """See that files can be written to a folder, or where it would be made.

    Raises:
        OSError: they cannot.
    """
    nowhere = next((path for path in (folder, *folder.parents) if path.is_symlink() and not path.exists()), None)
    if nowhere:  # as to a disk that is not mounted; it would be in the way of making the folder
        raise OSError(f"{folder} cannot be written to ({nowhere} is a link to nothing): choose another folder")
    there = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    try:
        with TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise _unwritable(folder, error) from error


def make_folder(folder: Path) -> None:
    """Make a folder where it is missing, with those above it, and see that files can be written to it.

    Raises:
        OSError: it cannot be made, or they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    check_writable(folder)


def _unwritable(folder: Path, error: OSError) -> OSError:
    return OSError(f"{folder} cannot be written to ({error.strerror}): choose another folder")


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all; what may be raised says `atomic_write`."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Give a temporary path of the same name and suffix, which replaces `path` once the block has succeeded.

    When the block fails or is interrupted, the temporary file is removed and whatever was at `path` stays as it was::

        with atomic_write("out/mask.png") as temporary:
            image.save(temporary)

    Raises:
        FileNotFoundError: the folder of `path` does not exist, or the block wrote nothing.
        IsADirectoryError: `path` is a folder; before the block.
        OSError: its folder cannot be written to, or the disk is full.
    """
    target = Path(path)
    refuse_folder(target)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {target}: there is no folder {target.parent}; create it first")
    # Beside the target, because a rename is atomic within one file system alone. A folder and not `mkstemp`, whose
    # files nobody but their owner may read: in here the file gets the permissions that the user's umask asks for.
    try:
        folder = Path(mkdtemp(prefix=".writing-", dir=target.parent))
    except OSError as error:
        raise OSError(f"cannot write {target} ({error.strerror}): choose another folder") from error
    try:
        temporary = folder / target.name
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())  # else a power cut after the rename could leave an empty file
        temporary.replace(target)
    except OSError as error:
        if error.errno in FULL:
            raise OSError(f"cannot write {target} ({error.strerror}): make room, or choose another folder") from error
        raise
    finally:
        # Not by `shutil.rmtree`: interrupted between two steps, it says "Bad file descriptor" and hides the interrupt.
        for left in sorted(folder.rglob("*"), reverse=True):
            left.rmdir() if left.is_dir() else left.unlink()
        folder.rmdir()
