"""Draws Figure 1 of the paper from the code: the six structures run on symbols, and what they did is drawn.

    python docs/figure1.py docs/figure1.svg

Nothing but the positions is decided here. Which block feeds which node comes from `dla.figure1`.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path
from torch import nn

import dla

PANELS = {
    "plain": "(a)  no aggregation",
    "skip": "(b)  shallow skips",
    "iterative": "(c)  iterative",
    "tree": "(d)  tree",
    "reentrant": "(e)  re-entrant",
    "merged": "(f)  hierarchical, merged",
}
BLOCKS = 8
HALF = 0.3  # half a block's side, and a node's radius
LEVEL = 1.25  # from one height of nodes to the next
LOW, HIGH = -1.55, (2.0, 4.85, 4.3)  # how far the panels of each row reach
WIDTH = 13.2  # of a panel
INK, EDGE, PATH = "#24323d", "#8b9aa6", "#e07b1a"
BLOCK, NODE = "#c9dcec", "#7fc29b"


@dataclass(frozen=True)
class Symbol:
    """What a block or a node gave: its inputs, and where it stands in the order of running."""

    kind: str  # "x" for the input, "block", "node" or "linear"
    inputs: tuple["Symbol", ...] = ()
    order: int = -1


class Recorder:
    """Makes blocks and nodes that give symbols, and remembers them in the order in which they ran."""

    def __init__(self) -> None:
        self.ran: list[Symbol] = []

    def give(self, kind: str, inputs: Sequence[Symbol]) -> Symbol:
        """Remember one more symbol."""
        self.ran.append(Symbol(kind, tuple(inputs), len(self.ran)))
        return self.ran[-1]

    def run(self, structure: str) -> list[Symbol]:
        """All symbols of one structure; the last one is its output."""
        kind = "linear" if structure == "skip" else "node"
        blocks = [_Symbolic(lambda x: self.give("block", [x])) for _ in range(BLOCKS)]
        model = dla.figure1(structure, blocks, 1, node=lambda *_: _Symbolic(lambda xs: self.give(kind, xs)))
        model(Symbol("x"))
        return self.ran


class _Symbolic(nn.Module):
    def __init__(self, call) -> None:
        super().__init__()
        self.forward = call


Place = dict[Symbol, tuple[float, float]]


def place(structure: str, ran: list[Symbol]) -> Place:
    """Where each symbol is drawn."""
    flat = structure in ("skip", "iterative")
    fed = {x for symbol in ran if symbol.kind == "block" for x in symbol.inputs if x.kind != "block"}
    at: Place = {}
    column, rightmost = 0.0, 0.0
    for symbol in ran:
        if symbol.kind == "block":
            at[symbol] = (column, 0.0)
            column += 1
        elif flat:  # above the block that it takes
            at[symbol] = (at[symbol.inputs[-1]][0], LEVEL)
        else:
            height = LEVEL + max(at[x][1] for x in symbol.inputs)
            if symbol in fed or (structure != "tree" and symbol is ran[-1]):  # a column of its own, to feed from
                at[symbol] = (column - 0.1, height)
                column += 0.8
            else:
                at[symbol] = (sum(at[x][0] for x in symbol.inputs) / len(symbol.inputs), height)
        rightmost = max(rightmost, at[symbol][0])
    middle = rightmost / 2
    return {symbol: (x - middle, y) for symbol, (x, y) in at.items()}


def path_of_first(ran: list[Symbol]) -> list[Symbol]:
    """The first block and the nodes on the longest way from it to the output, from node to node."""
    longest: dict[Symbol, list[Symbol]] = {ran[0]: [ran[0]]}
    for symbol in ran:
        ways = [longest[x] for x in symbol.inputs if x in longest]
        if symbol.kind != "block" and ways:
            longest[symbol] = [*max(ways, key=len), symbol]
    return longest.get(ran[-1], [])


def draw(ax: Axes, structure: str, high: float) -> None:
    """Draw one panel, up to the height `high`."""
    ran = Recorder().run(structure)
    at = place(structure, ran)
    path = path_of_first(ran)
    marked = set(pairwise(path))
    for symbol in ran:
        for source in symbol.inputs:
            if source.kind == "x":
                x, y = at[symbol]
                _arrow(ax, (x - 1.0, y), (x - HALF, y), EDGE)
            else:
                _edge(ax, at[source], at[symbol], symbol.kind == "block", (source, symbol) in marked)
    for symbol in ran:
        _shape(ax, symbol.kind, at[symbol])
    _output(ax, structure, at[ran[-1]], PATH if path else EDGE)
    nodes = len(path) - 1
    says = f"{nodes} node{'' if nodes == 1 else 's'} after the first block" if path else "no nodes"
    low, left = -0.95, -6.2
    ax.text(left, low, PANELS[structure], fontsize=11, fontweight="bold", color=INK, va="center")
    ax.text(-left, low, says, fontsize=9.5, color=PATH if path else EDGE, va="center", ha="right")
    ax.set(xlim=(-WIDTH / 2, WIDTH / 2), ylim=(LOW, high), aspect="equal")
    ax.axis("off")


def _edge(ax: Axes, start: tuple[float, float], end: tuple[float, float], to_block: bool, marked: bool) -> None:
    (x0, y0), (x1, y1) = start, end
    color = PATH if marked else EDGE
    if y0 == y1:
        step = HALF if x1 > x0 else -HALF
        _arrow(ax, (x0 + step, y0), (x1 - step, y1), color, marked)
    elif to_block:  # down, from a node's right side to a block's left side
        _curve(ax, (x0 + HALF, y0), (x1 - 0.62, y0), (x1 - 0.98, y1), (x1 - HALF, y1), color, marked)
    elif x0 == x1:
        _arrow(ax, (x0, y0 + HALF), (x1, y1 - HALF), color, marked)
    else:  # up from the top, into the node's side that it comes from
        side = -HALF if x1 > x0 else HALF
        if abs(x1 - x0) < 0.9:
            _curve(ax, (x0, y0 + HALF), (x0, y1 - 0.5), (x1, y0 + 0.75), (x1, y1 - HALF), color, marked)
        else:
            _curve(ax, (x0, y0 + HALF), (x0, y1 - 0.25), (x0 - side, y1), (x1 + side, y1), color, marked)


def _curve(ax: Axes, start, out, into, end, color: str, marked: bool) -> None:
    path = Path([start, out, into, end], [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
    ax.add_patch(PathPatch(path, fill=False, color=color, linewidth=2.2 if marked else 1.1, zorder=3 if marked else 1))
    _head(ax, into, end, color, marked)


def _arrow(ax: Axes, start, end, color: str, marked: bool = False) -> None:
    ax.add_line(
        Line2D(*zip(start, end, strict=True), color=color, linewidth=2.2 if marked else 1.1, zorder=3 if marked else 1)
    )
    _head(ax, start, end, color, marked)


def _head(ax: Axes, before, end, color: str, marked: bool) -> None:
    dx, dy = end[0] - before[0], end[1] - before[1]
    length = (dx**2 + dy**2) ** 0.5
    dx, dy = dx / length, dy / length
    long, wide = (0.3, 0.15) if marked else (0.21, 0.09)
    x, y = end[0] - long * dx, end[1] - long * dy
    corners = [end, (x - wide * dy, y + wide * dx), (x + wide * dy, y - wide * dx)]
    ax.add_patch(Polygon(corners, facecolor=color, linewidth=0, zorder=3 if marked else 1))


def _output(ax: Axes, structure: str, end: tuple[float, float], color: str) -> None:
    x, y = end
    if structure == "tree":
        _arrow(ax, (x, y + HALF), (x, y + 0.85), color, color == PATH)
    elif structure == "skip":
        _arrow(ax, (x - HALF, y), (x - 1.0, y), color, color == PATH)
    else:
        _arrow(ax, (x + HALF, y), (x + 1.0, y), color, color == PATH)


def _shape(ax: Axes, kind: str, center: tuple[float, float]) -> None:
    x, y = center
    if kind == "block":
        corner = (x - HALF + 0.07, y - HALF + 0.07)
        side = 2 * HALF - 0.14
        box = FancyBboxPatch(corner, side, side, boxstyle="round,pad=0.07", facecolor=BLOCK, edgecolor=INK)
    else:
        box = Circle(center, HALF, facecolor="white" if kind == "linear" else NODE, edgecolor=INK)
    box.set(linewidth=1.1, zorder=4)
    ax.add_patch(box)


def legend(ax: Axes) -> None:
    """What the shapes mean."""
    ax.set(xlim=(-WIDTH, WIDTH), ylim=(-0.65, 0.65), aspect="equal")
    ax.axis("off")
    entries = [("block", "block"), ("node", "aggregation node"), ("linear", "linear node")]
    x = -12.5
    for kind, name in entries:
        _shape(ax, kind, (x, 0))
        ax.text(x + 0.55, 0, name, fontsize=10, color=INK, va="center")
        x += 1.5 + 0.24 * len(name)
    _arrow(ax, (x - 0.3, 0), (x + 1.1, 0), PATH, True)
    ax.text(
        x + 1.4, 0, "the first block's longest way to the output, node to node", fontsize=10, color=INK, va="center"
    )


def main(target: str) -> None:
    """Draw all panels to a file."""
    mpl.rcParams["svg.hashsalt"] = "figure1"  # the same picture is the same file
    mpl.rcParams["svg.fonttype"] = "none"  # a tenth of the size of drawn letters
    heights = [1.3, *(high - LOW for high in HIGH)]  # all panels have one scale
    figure = Figure(figsize=(10.4, 10.4 * sum(heights) / (2 * WIDTH)))
    grid = figure.add_gridspec(4, 2, height_ratios=heights, left=0, right=1, top=1, bottom=0, wspace=0, hspace=0)
    legend(figure.add_subplot(grid[0, :]))
    for i, structure in enumerate(PANELS):
        draw(figure.add_subplot(grid[1 + i // 2, i % 2]), structure, HIGH[i // 2])
    figure.savefig(target, metadata={"Date": None} if target.endswith(".svg") else None, facecolor="white")


if __name__ == "__main__":
    main(sys.argv[1])
