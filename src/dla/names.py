"""The names of networks: `timm/resnet34.a1_in1k`, `dla46_cup.camvid`, `convnext_tiny.fb_in1k+ida`, `NAME+ida.TAG`."""

from collections import Counter
from collections.abc import Iterable
from difflib import get_close_matches
from typing import NamedTuple


class Name(NamedTuple):
    """What a name is made of; `str` puts it together again.

    Attributes:
        library: "timm" or "torchvision" before a slash, empty for ours and for what is aggregated.
        base: the network, or the backbone where there is a structure.
        tag: of weights, behind a dot; empty where none are named.
        structure: behind a plus, what fuses the backbone's maps; empty where nothing does.
        whole: tag of weights for backbone and structure together, behind a dot after the structure.
    """

    library: str
    base: str
    tag: str
    structure: str
    whole: str = ""

    def __str__(self) -> str:
        library, tag = self.library and f"{self.library}/", self.tag and f".{self.tag}"
        structure = self.structure and f"+{self.structure}" + (self.whole and f".{self.whole}")
        return f"{library}{self.base}{tag}{structure}"

    @property
    def backbone(self) -> str:
        """The name without that of the structure."""
        return str(self._replace(structure="", whole=""))

    @property
    def inner(self) -> str:
        """The name without the library, as that library has it."""
        return str(self._replace(library=""))

    @property
    def untagged(self) -> str:
        """The name without that of the weights."""
        return str(self._replace(tag="", whole=""))

    @property
    def weighted(self) -> bool:
        """Whether it names weights."""
        return bool(self.tag or self.whole)


def parse(name: str) -> Name:
    """The parts of a name, whether or not there is such a network."""
    network, _, behind = name.partition("+")
    structure, _, whole = behind.partition(".")
    library, _, inner = network.rpartition("/")
    base, _, tag = inner.partition(".")
    return Name(library, base, tag, structure, whole)


def meant(name: str, names: Iterable[str], count: int = 3) -> str:
    """What to say behind the complaint that there is no such name: which ones are like it; nothing where none is."""
    near = get_close_matches(name, list(names), count, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def repeated(names: Iterable[str]) -> list[str]:
    """Those that stand more than once, sorted."""
    return sorted(name for name, times in Counter(names).items() if times > 1)
