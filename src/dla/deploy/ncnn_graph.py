"""Where ncnn had better not use Winograd's transform, written into its graph.

A line of the graph is a layer: its type, name, counts of inputs and outputs, their names, and parameters as KEY=VALUE.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

SMALL = 64  # positions of a map, up to which the multiplications saved are worth less
LARGE = 2**20  # weights, from which they do not stay in a processor's cache
WINDOW, WEIGHTS, FEATURES = "1", "6", "31"  # keys: side of the window, count of weights, what a layer must not use
WINOGRAD = 64


class Layer(NamedTuple):
    """One line of the graph."""

    kind: str
    output: str
    parameters: dict[str, str]


def spare_winograd(graph: str, positions: Callable[[str], int]) -> str:
    """The graph, with a mark at convolutions of 3x3 with small maps and many weights.

    The transform makes weights of 6x6 from those of 3x3, and for few positions it takes longer to read them from memory
    than to multiply. In dla34 these are the maps of 7x7 and 512 channels.

    Args:
        graph: the text of a .param file.
        positions: of the map of a name, its height times its width.
    """
    head, lines = graph.splitlines()[:2], graph.splitlines()[2:]
    return "\n".join([*head, *_marked(lines, positions)]) + "\n"


def _marked(lines: list[str], positions: Callable[[str], int]) -> Iterator[str]:
    for line in lines:
        kind, output, parameters = _layer(line)
        convolves = kind == "Convolution" and parameters[WINDOW] == "3" and FEATURES not in parameters
        spared = convolves and int(parameters[WEIGHTS]) >= LARGE and positions(output) <= SMALL
        yield f"{line} {FEATURES}={WINOGRAD}" if spared else line


def _layer(line: str) -> Layer:
    kind, _, inputs, outputs, *rest = line.split()
    count = int(inputs) + int(outputs)
    return Layer(kind, rest[int(inputs)], dict(part.split("=", 1) for part in rest[count:]))
