"""Draws what iterative aggregation wraps, and what hierarchical aggregation wraps: one picture each.

    python docs/contracts.py docs/wraps_maps.svg docs/wraps_blocks.svg

The marks are those of figure1.py; the tree in the second picture comes from the code, as there.
"""

import sys
from collections.abc import Sequence
from itertools import pairwise

import matplotlib as mpl
from figure1 import BLOCK, EDGE, HALF, INK, NODE, PATH, Recorder, _arrow, _edge, _output, _shape, path_of_first, place
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

STRIDES = (4, 8, 16, 32)
STEP = 2.6  # from one stage to the next
MAPS, NODES = 1.75, 3.2  # heights of both


def canvas(xlim: tuple[float, float], ylim: tuple[float, float]) -> tuple[Figure, Axes]:
    """An empty picture of these limits, all of one scale."""
    figure = Figure(figsize=(0.62 * (xlim[1] - xlim[0]), 0.62 * (ylim[1] - ylim[0])))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=xlim, ylim=ylim, aspect="equal")
    ax.axis("off")
    return figure, ax


def frame(ax: Axes, corners: Sequence[float], label: str, *, ours: bool) -> None:
    """A frame around what is ours, with its name above, or dashed around what is the user's, with its name below."""
    left, low, right, high = corners
    style = {"edgecolor": NODE if ours else EDGE, "linestyle": "-" if ours else "--", "linewidth": 1.6}
    box = FancyBboxPatch((left, low), right - left, high - low, boxstyle="round,pad=0.1", facecolor="none", **style)
    ax.add_patch(box)
    ax.text(left + 0.05, high - 0.18 if ours else low + 0.18, label, fontsize=10, color=INK, va="center")


def wraps_maps() -> Figure:
    """Stages of any backbone give maps of falling size; nodes fuse them from the finest on."""
    figure, ax = canvas((-2.4, 10.6), (-1.5, 4.55))
    frame(ax, (-1.1, -1.3, 9.2, 0.75), "any backbone, never looked into", ours=False)
    frame(ax, (-1.1, 2.5, 9.2, 4.3), "iterative aggregation: project, upsample, node after node", ours=True)
    _arrow(ax, (-2.2, -0.3), (-0.6, -0.3), EDGE)
    ax.text(-2.2, 0.0, "image", fontsize=9.5, color=INK)
    for i, stride in enumerate(STRIDES):
        x, side = i * STEP, 1.0 - 0.2 * i
        ax.add_patch(Rectangle((x - 0.6, -0.75), 1.2, 0.9, facecolor="white", edgecolor=INK, linewidth=1.1))
        ax.text(x, -0.3, "stage", fontsize=9.5, color=INK, ha="center", va="center")
        _arrow(ax, (x, 0.15), (x, MAPS - side / 2), EDGE)
        ax.add_patch(Rectangle((x - side / 2, MAPS - side / 2), side, side, facecolor=BLOCK, edgecolor=INK, zorder=4))
        ax.text(x + side / 2 + 0.12, MAPS, f"1/{stride}", fontsize=9.5, color=INK, va="center")
        if i:
            _arrow(ax, (x - STEP + 0.6, -0.3), (x - 0.6, -0.3), EDGE)
            _arrow(ax, (x, MAPS + side / 2), (x, NODES - HALF), EDGE)
            _arrow(ax, (x - STEP + (HALF if i > 1 else 0), NODES), (x - HALF, NODES), PATH, True)
            _shape(ax, "node", (x, NODES))
    ax.plot([0, 0], [MAPS + 0.5, NODES], color=PATH, linewidth=2.2)
    end = STEP * (len(STRIDES) - 1)
    _arrow(ax, (end + HALF, NODES), (10.2, NODES), PATH, True)
    ax.text(9.5, NODES + 0.3, "one map", fontsize=9.5, color=INK)
    return figure


def wraps_blocks() -> Figure:
    """Blocks of anyone run one after another; nodes fuse what they give in a tree, and feed it back."""
    ran = Recorder().run("merged")
    at = place("merged", ran)
    path = path_of_first(ran)
    marked = set(pairwise(path))
    right = max(x for x, _ in at.values())
    figure, ax = canvas((-right - 2.0, right + 2.2), (-1.35, 5.75))
    frame(ax, (-right - 0.6, -1.15, right + 0.6, 0.4), "any blocks: a sequence of ready modules", ours=False)
    frame(ax, (-right - 0.6, 0.72, right + 0.6, 5.45), "hierarchical aggregation: a tree of nodes", ours=True)
    for symbol in ran:
        for source in symbol.inputs:
            if source.kind == "x":
                x, y = at[symbol]
                _arrow(ax, (x - 1.6, y), (x - HALF, y), EDGE)
            else:
                _edge(ax, at[source], at[symbol], symbol.kind == "block", (source, symbol) in marked)
    for symbol in ran:
        _shape(ax, symbol.kind, at[symbol])
    _output(ax, "merged", at[ran[-1]], PATH)
    return figure


def main(maps: str, blocks: str) -> None:
    """Draw both to files."""
    mpl.rcParams["svg.hashsalt"] = "contracts"  # the same picture is the same file
    mpl.rcParams["svg.fonttype"] = "none"
    for figure, target in ((wraps_maps(), maps), (wraps_blocks(), blocks)):
        figure.savefig(target, metadata={"Date": None} if target.endswith(".svg") else None, facecolor="white")


if __name__ == "__main__":
    main(*sys.argv[1:])
