"""Files: text that is read, what is written whole or not at all, lists of pictures, tables and figures."""

from dla.files.reading import read_names, read_text
from dla.files.writing import FULL, atomic_write, check_writable, make_folder, refuse_folder, write_text

__all__ = [
    "FULL",
    "atomic_write",
    "check_writable",
    "make_folder",
    "read_names",
    "read_text",
    "refuse_folder",
    "write_text",
]
