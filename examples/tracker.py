"""Train a tracker, CenterTrack's on a compact network, to follow moving shapes, and draw a clip with their numbers.

"Tracking Objects as Points" (Zhou et al., 2020): the network sees an image, the one before it, and a heatmap of what
was found there, and a head more than a detector's says for each centre where that object was (Section 4). Then the
nearest object there is the same one. Targets and boxes are those of the example beside this one, a detector. With data
of your own, `clip` is what changes, and `tracking_loss` gets the boxes of objects that are in both images, no others.

    python examples/tracker.py clip.png
"""

import sys

import torch
from detector import (
    CLASSES,
    HEADS,
    STRIDE,
    Scene,
    centers_and_sizes,
    descended,
    found,
    heatmap,
    loss,
    radius,
    with_shapes,
)
from torch import Tensor
from torch.nn.functional import interpolate, l1_loss
from torchvision.ops import box_iou
from torchvision.utils import draw_bounding_boxes, make_grid, save_image

import dla

COLORS = ("red", "lime", "cyan", "yellow", "magenta", "orange", "white")
FASTEST = 16  # pixels that a shape moves along an axis from one image to the next
Tracked = tuple[Tensor, Tensor, Tensor]
"""Boxes (n, 4), their classes (n,), and the numbers of the objects that they are of (n,)."""


def clip(length: int, height: int = 96, width: int = 128) -> list[Scene]:
    """Images of up to four shapes that move evenly and turn back at the sides; box i is always of the same one."""
    count = int(torch.randint(1, 5, ()))
    sizes, classes, colors = 12 + 28 * torch.rand(count, 2), torch.randint(len(CLASSES), (count,)), torch.rand(count, 3)
    room = torch.tensor([width, height]) - sizes
    start, speed = torch.rand(count, 2) * room, FASTEST * (2 * torch.rand(count, 2) - 1)
    scenes = []
    for time in range(length):
        corners = room - ((start + time * speed).remainder(2 * room) - room).abs()
        boxes = torch.cat([corners, corners + sizes], 1)
        background = 0.3 * torch.rand(3, height, width)
        scenes.append((with_shapes(background, boxes, classes, 0.4 + 0.6 * colors), boxes, classes))
    return scenes


def seen(boxes: Tensor, image: Tensor) -> Tensor:
    """The heatmap (1, h, w) of what was found in the image before, of all classes together."""
    centers, sizes = centers_and_sizes(boxes)
    return heatmap(centers.long(), radius(sizes), torch.zeros(len(boxes), dtype=torch.long), image[:1])


def as_if_found(boxes: Tensor) -> Tensor:
    """Boxes as a tracker may have found them: some are missing, the others a little beside (Section 4.1)."""
    kept = boxes[torch.rand(len(boxes)) > 0.3]
    moves = 0.05 * centers_and_sizes(kept)[1] * torch.randn(len(kept), 2)
    return kept + moves.repeat(1, 2)


def way_back(maps: dict[str, Tensor], boxes: Tensor) -> Tensor:
    """What the head says at the centre of each box (n, 2), in pixels of the image, of one image's maps."""
    columns, rows = (centers_and_sizes(boxes)[0] / STRIDE).long().T
    height, width = maps["tracking"].shape[1:]
    return STRIDE * maps["tracking"][:, rows.clamp(0, height - 1), columns.clamp(0, width - 1)].T


def tracking_loss(maps: dict[str, Tensor], pairs: list[list[Scene]]) -> Tensor:
    """How far the ways back are from the true ones, in pixels of the map, per object.

    Box i of both images is the same object's: one that is in one image alone has no way, and is left out of them here.
    """
    total, objects = torch.zeros(()), 0
    for i, ((_, before, _), (_, now, _)) in enumerate(pairs):
        ways = way_back({name: batch[i] for name, batch in maps.items()}, now)
        (there, _), (here, _) = map(centers_and_sizes, torch.stack([before, now]))  # fails where one is missing
        total = total + l1_loss(ways, there - here, reduction="sum") / STRIDE
        objects += len(now)
    return total / max(objects, 1)


def train(steps: int, batch: int = 16) -> torch.nn.Module:
    """A tracker after so many steps, each on new pairs of images; a tenth of them are a clip's first image, twice."""
    options = {"head_channels": 64, "decoder": "plain", "in_chans": (3, 3, 1)}
    model = dla.create_model("dla46_c_centernet", heads=HEADS | {"tracking": 2}, **options)

    def of_new_pairs() -> Tensor:
        pairs = [2 * clip(1) if torch.rand(()) < 0.1 else clip(2) for _ in range(batch)]
        known = [as_if_found(boxes[:0] if before is image else boxes) for (before, boxes, _), (image, *_) in pairs]
        stacks = [
            torch.cat([now[0], before[0], seen(boxes, before[0])])
            for (before, now), boxes in zip(pairs, known, strict=True)
        ]
        maps = model(torch.stack(stacks))
        return loss(maps, [now for _, now in pairs]) + tracking_loss(maps, pairs)

    return descended(model, of_new_pairs, steps)


def same(boxes: Tensor, classes: Tensor, ways: Tensor, known: Tracked, fresh: int) -> Tensor:
    """The number of each box: that of the nearest known object of its class where it was, or a new one from `fresh`.

    The boxes choose in their order, the surest first; an object further away than a box is wide is none of it.
    """
    theirs, kinds, numbers = known
    centers, sizes = centers_and_sizes(boxes)
    apart = torch.cdist(centers + ways, centers_and_sizes(theirs)[0])
    apart[(classes[:, None] != kinds) | (apart > sizes.prod(1).sqrt()[:, None])] = torch.inf
    chosen = []
    for row in range(len(boxes)):
        nearest = int(apart[row].argmin()) if apart[row].isfinite().any() else None
        chosen.append(fresh if nearest is None else int(numbers[nearest]))
        if nearest is None:
            fresh += 1
        else:
            apart[:, nearest] = torch.inf
    return torch.tensor(chosen, dtype=torch.long)


@torch.inference_mode()
def follow(model: torch.nn.Module, images: list[Tensor], *, backwards: bool = True) -> list[Tracked]:
    """What is found in each image of a clip, under the number that it had in the image before.

    Unless it looks `backwards`, objects are sought where they are now, and not where the head says that they were.
    """
    fresh, answers = 0, list[Tracked]()
    known: Tracked = (torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long))
    for before, image in zip(images[:1] + images[:-1], images, strict=True):  # the first is before itself
        output = model(torch.cat([image, before, seen(known[0], image)])[None])
        maps = {name: batch[0] for name, batch in output.items()}
        boxes, classes, _ = found(maps)
        ways = way_back(maps, boxes) if backwards else torch.zeros(len(boxes), 2)
        numbers = same(boxes, classes, ways, known, fresh)
        fresh = max([fresh, *(numbers + 1).tolist()])
        known = boxes, classes, numbers
        answers.append(known)
    return answers


def changes(scenes: list[Scene], answers: list[Tracked]) -> tuple[int, int, int]:
    """How many shapes there were in all images, how many were found, and how often a shape's number changed.

    Of several right boxes of a shape the surest counts.
    """
    objects = hits = changed = 0
    last: dict[int, int] = {}
    for (_, boxes, classes), (ours, kinds, numbers) in zip(scenes, answers, strict=True):
        right = (box_iou(boxes, ours) > 0.5) & (classes[:, None] == kinds)
        objects += len(boxes)
        for shape in right.any(1).nonzero().flatten().tolist():
            number = int(numbers[right[shape].int().argmax()])
            changed += last.get(shape, number) != number
            last[shape] = number
            hits += 1
    return objects, hits, changed


def drawn(image: Tensor, answer: Tracked) -> Tensor:
    """The image, twice as large, with its boxes, the surest on top; their colours are those of the numbers."""
    boxes, _, numbers = (part.flip(0) for part in answer)
    large = interpolate(image[None], scale_factor=2)[0]
    colors = [COLORS[number % len(COLORS)] for number in numbers.tolist()]
    return draw_bounding_boxes(large, 2 * boxes, colors=colors, width=2) if colors else large


def main(path: str = "clip.png", steps: int = 600, count: int = 30) -> None:
    """Train, follow the shapes of so many new clips, and draw the first images of the first three."""
    torch.manual_seed(0)
    model = train(steps)
    clips = [clip(12) for _ in range(count)]
    for backwards in (False, True):
        answers = [follow(model, [image for image, *_ in scenes], backwards=backwards) for scenes in clips]
        objects, hits, changed = (sum(parts) for parts in zip(*map(changes, clips, answers), strict=True))
        how = "with" if backwards else "without"
        print(f"{hits} of {objects} shapes found; {how} their ways back, their numbers changed {changed} times")
    print(f"{path} shows three clips, one below the other")
    shown = [pair for i in range(3) for pair in zip(clips[i][:5], answers[i][:5], strict=True)]
    save_image(make_grid([drawn(scene[0], answer) for scene, answer in shown], 5), path)


if __name__ == "__main__":
    main(*sys.argv[1:2])
