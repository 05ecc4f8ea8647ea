"""Networks in files of other runtimes, each compared with the network before it is written: `export`, `dla export`."""

from dla.export.compare import Compared
from dla.export.write import FORMATS, export

__all__ = ["FORMATS", "Compared", "export"]
