"""The correspondence of predicted and true boundary pixels: a matching of the most pairs, then of the least distance.

The predicted maps of neighbouring thresholds differ in few pixels. So there is one matching, which stays optimal while
predicted pixels come and go; each costs one short search for an alternating path. Solving every threshold anew as a
sparse assignment gives the same numbers in some ten times the time.

In the terms of linear programming: a pair is worth a large constant less its distance, so that more pairs always beat
nearer ones, and every pixel has a price of at least 0. The two prices of a pair add up to at least its worth, of a
matched pair to its worth exactly, and the price of a pixel without partner is 0. As long as this holds the matching is
optimal. Distances are integers, so it holds exactly.
"""

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Bool, Int

UNIT = 2**40  # of distance: far below any difference between sums of distances that decides between two matchings
ALONE = -1
ABSENT = 1 << 200  # the price of a predicted pixel that is not in the map; no pair is worth it


class Pairs(NamedTuple):
    """The pairs of pixels near enough to be matched, and what each is worth; pixels are flat indices of the image."""

    predicted: Int[np.ndarray, " pairs"]
    true: Int[np.ndarray, " pairs"]
    worth: list[int]


def match(
    predicted: Bool[np.ndarray, "h w"], truth: Bool[np.ndarray, "h w"], reach: float, seed: int = 0
) -> Int[np.ndarray, "pairs 2"]:
    """Match the pixels of two maps one to one: as many pairs as possible, and of those the least total distance.

    Args:
        predicted: The predicted boundary.
        truth: The true one.
        reach: The largest distance of a pair, in pixels.
        seed: Of the permutation that decides which of several equally good predicted pixels gets the partner.

    Returns:
        The flat indices (row * w + column) of the predicted and of the true pixel of each pair.
    """
    pixels = np.flatnonzero(predicted)
    matching = PixelMatching(_near_pairs(pixels, truth, reach, seed))
    matching.change_to(pixels)
    return matching.pairs()


def match_series(
    maps: Sequence[Int[np.ndarray, " _"]], truth: Bool[np.ndarray, "h w"], reach: float, seed: int = 0
) -> list[Int[np.ndarray, " _"]]:
    """The predicted pixels of each map that have a partner in an optimal matching with `truth`, as `match` makes it.

    Pixels are flat indices: whole maps of a large image would be gigabytes. Fastest where each map differs little from
    the one after it.
    """
    union = np.zeros(truth.size, dtype=bool)
    for predicted in maps:
        union[predicted] = True
    matching = PixelMatching(_near_pairs(np.flatnonzero(union), truth, reach, seed))
    matched = []
    for predicted in reversed(maps):
        matching.change_to(predicted)
        matched.append(matching.pairs()[:, 0])
    return matched[::-1]


def _near_pairs(predicted: Int[np.ndarray, " _"], truth: Bool[np.ndarray, "h w"], reach: float, seed: int) -> Pairs:
    """All pairs within reach, of one step of the search window after the other."""
    margin, (h, w) = min(int(reach), max(truth.shape)), truth.shape
    there = np.pad(truth, margin)
    rows, columns = np.divmod(predicted, w)
    found = [(np.zeros(0, int), np.zeros(0, int), np.zeros(0))]
    for down in range(-margin, margin + 1):
        for right in range(-margin, margin + 1):
            if (distance := np.hypot(down, right)) <= reach:
                near = there[rows + (down + margin), columns + (right + margin)]
                pixels = rows[near] * w + columns[near]
                found.append((pixels, pixels + (down * w + right), np.full(len(pixels), distance)))
    starts, ends, distances = (np.concatenate(part) for part in zip(*found, strict=True))
    # Below the distance, a permutation of the pixels: among equally good matchings, chance picks the predicted pixels.
    costs = np.rint(distances * UNIT).astype(np.int64) + np.random.default_rng(seed).permutation(h * w)[starts]
    most = 1 + min(len(predicted), truth.sum())
    dear = int(most) * int(costs.max(initial=1))  # no change of partners saves as much as one more pair is worth
    return Pairs(starts, ends, [dear - cost for cost in costs.tolist()])


class PixelMatching:
    """An optimal matching that follows its predicted pixels.

    Vertices are numbered: first the predicted pixels that have a true one within reach, then those true ones.

    Args:
        pairs: All that can be matched. At the start, no predicted pixel is in the map.
    """

    def __init__(self, pairs: Pairs) -> None:
        self.predicted, starts = np.unique(pairs.predicted, return_inverse=True)
        self.true, ends = np.unique(pairs.true, return_inverse=True)
        count = len(self.predicted) + len(self.true)
        self.neighbours: list[list[tuple[int, int]]] = [[] for _ in range(count)]
        for start, end, worth in zip(starts.tolist(), (ends + len(self.predicted)).tolist(), pairs.worth, strict=True):
            self.neighbours[start].append((end, worth))
            self.neighbours[end].append((start, worth))
        self.price = [ABSENT] * len(self.predicted) + [0] * len(self.true)
        self.mate = [ALONE] * count
        self.present = np.zeros(len(self.predicted), dtype=bool)

    def change_to(self, predicted: Int[np.ndarray, " _"]) -> None:
        """Make the predicted pixels those of a map, given as flat indices."""
        present = np.isin(self.predicted, predicted, assume_unique=True)
        for vertex in np.flatnonzero(self.present & ~present).tolist():
            self._remove(vertex)
        for vertex in np.flatnonzero(present & ~self.present).tolist():
            self._insert(vertex)
        self.present = present

    def pairs(self) -> Int[np.ndarray, "pairs 2"]:
        """The matched pairs, as flat indices of the predicted and the true pixel."""
        mates = np.array(self.mate[: len(self.predicted)], dtype=int)
        matched = np.flatnonzero(mates != ALONE)
        return np.stack([self.predicted[matched], self.true[mates[matched] - len(self.predicted)]], axis=1)

    # No types are checked from here on: at run time, as in the tests, that would take longer than the searches.

    @no_type_check
    def _insert(self, vertex: int) -> None:
        self.price[vertex] = max([0, *(worth - self.price[other] for other, worth in self.neighbours[vertex])])
        self._settle(vertex)

    @no_type_check
    def _remove(self, vertex: int) -> None:
        left, self.mate[vertex] = self.mate[vertex], ALONE
        self.price[vertex] = ABSENT
        if left != ALONE:
            self.mate[left] = ALONE
            self._settle(left)

    @no_type_check
    def _settle(self, start: int) -> None:
        """Find a partner for a vertex, or lower its price to 0, at the least cost: then all prices are right again."""
        end, length, via, lengths = self._search(start)
        self.price[start] -= length
        for other, before in lengths:
            self.price[other] += length - before
            self.price[self.mate[other]] -= length - before
        self._flip(start, end, via)

    @no_type_check
    def _search(self, start: int) -> tuple[int, int, dict[int, int], list[tuple[int, int]]]:
        """The shortest alternating path (Dijkstra), by how much each step's prices exceed its worth.

        It ends at a vertex of the other side that is alone, or at one of this side that can do without its partner:
        the path then costs its price. Gives that vertex, the length of the path, from where each vertex of the other
        side was reached, and those that are nearer than the end, with the lengths of the paths to them.
        """
        price, mate, neighbours = self.price, self.mate, self.neighbours
        vertex, before = start, 0
        end, shortest = start, price[start]
        tentative: dict[int, int] = {}
        via: dict[int, int] = {}
        nearer: list[tuple[int, int]] = []
        queue: list[tuple[int, int]] = []
        while True:
            paid = before + price[vertex]
            if paid < shortest:
                end, shortest = vertex, paid
            for other, worth in neighbours[vertex]:
                length = paid + price[other] - worth
                if length < shortest and length < tentative.get(other, shortest):
                    tentative[other], via[other] = length, vertex
                    if mate[other] == ALONE:
                        end, shortest = other, length
                    else:
                        heappush(queue, (length, other))
            while queue and queue[0][0] > tentative[queue[0][1]]:  # a longer way to a vertex that was passed since
                heappop(queue)
            if not queue or queue[0][0] >= shortest:
                return end, shortest, via, nearer
            before, other = heappop(queue)
            nearer.append((other, before))
            vertex = mate[other]

    @no_type_check
    def _flip(self, start: int, end: int, via: dict[int, int]) -> None:
        """Exchange matched and unmatched steps along the path."""
        if end == start:
            return
        other = end
        if end not in via:  # a vertex of this side, which loses its partner
            other, self.mate[end] = self.mate[end], ALONE
        vertex = ALONE
        while vertex != start:
            vertex = via[other]
            following, self.mate[vertex], self.mate[other] = self.mate[vertex], other, vertex
            other = following
