"""What every boundary set gives, an image and the truth of each annotator, and how these become one mask."""

from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import torch
from jaxtyping import Bool, Num, UInt8
from torch import Tensor

from dla.data.loading import Item, Seeded, collate
from dla.data.sample import IGNORE_INDEX, PixelSet, make_sample
from dla.data.sampling import Draw, as_draw, draw_seed
from dla.images import RGB

CLASSES = ("background", "boundary")
COLORS: tuple[RGB, ...] = ((25, 25, 40), (255, 210, 60))

Merge = Literal["any", "vote", "sample"]


class Annotated(NamedTuple):
    """An image, as of `Sample`, and where each of A annotators saw a boundary, bool (A, H, W)."""

    image: Num[Tensor, "c h w"]
    truths: Bool[Tensor, "a h w"]


BoundarySet: TypeAlias = PixelSet[Annotated]


class Merger:
    """Makes one mask of the truths of several annotators: 1 on boundaries, 0 elsewhere, 255 where it is undecided.

    Args:
        how: "any", a boundary is what any annotator marks; "vote", what more than a share of them marks, and what
            fewer mark is 255 (a threshold of 0.3 is that of many boundary detectors); "sample", what one of them
            marks, drawn anew in each epoch.
        threshold: The share of "vote", at least 0 and below 1.
    """

    def __init__(self, how: Merge = "vote", threshold: float = 0.3) -> None:
        if how not in get_args(Merge):
            raise ValueError(f"merge is {how!r}; expected one of {', '.join(get_args(Merge))}")
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold is {threshold}; expected a share of the annotators, at least 0 and below 1")
        self.how, self.threshold = how, threshold

    def __call__(self, truths: Bool[Tensor, "a h w"], seed: int) -> UInt8[Tensor, "h w"]:
        """The mask; `seed`, at least 0, says which annotator is taken by "sample"."""
        if self.how == "sample":
            return truths[seed % len(truths)].to(torch.uint8)
        if self.how == "any":
            return truths.any(0).to(torch.uint8)
        votes = truths.sum(0)
        undecided = (votes > 0) & (votes <= self.threshold * len(truths))
        return (votes > 0).to(torch.uint8).masked_fill(undecided, IGNORE_INDEX)


class SeededTruths(Seeded):
    """A boundary set indexed by draws: its truths merged to one mask, then augmented as any other sample.

    Args:
        dataset: The set of annotated images.
        merger: Makes the mask; the seed of the draw says which annotator it samples.
        landscape: Turn images that are higher than wide by 90 degrees, so that they fit into one batch with the others.
        keep: Add all truths to the item as `truths`, bool (A, H, W); a filler has no annotators, A = 0.
        **settings: Those of `Seeded`.
    """

    def __init__(
        self,
        dataset: BoundarySet,
        *,
        merger: Merger,
        landscape: bool = False,
        keep: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(dataset, **settings)
        self.merger, self.landscape, self.keep = merger, landscape, keep

    def __getitem__(self, draw: Draw | int) -> Item:
        """The image of a draw, augmented, with one mask."""
        epoch, index, filler = draw = as_draw(draw)
        image, truths = self.dataset[index % len(self.dataset)]
        if self.landscape and image.shape[1] > image.shape[2]:
            image, truths = image.rot90(1, (1, 2)), truths.rot90(1, (1, 2))
        mask = self.merger(truths, draw_seed(self.seed, epoch, index))
        item = self.item(draw, make_sample(image, mask))
        if self.keep:
            item["truths"] = truths[:0] if filler else truths
        return item


def collate_truths(items: list[Item]) -> dict[str, Any]:
    """A batch as by `collate`, but `truths` a list, since images differ in the number of their annotators."""
    rest = [{key: value for key, value in item.items() if key != "truths"} for item in items]
    truths = [item["truths"] for item in items if "truths" in item]
    return collate(rest) | ({"truths": truths} if truths else {})
