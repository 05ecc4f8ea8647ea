"""Train a detector, CenterNet's on a compact network, to find shapes, and draw what it finds in new images.

Targets, losses and boxes are those of "Objects as Points" (Zhou et al., 2019, Sections 3 and 4): a heatmap with a peak
at each object's centre, and there the box's size, and where within the map's pixel the centre lies. With data of your
own, `scene` is what changes: an image, the boxes in it (x1, y1, x2, y2) in pixels, and their classes. Boxes end where
the image does, and an image without any has `torch.zeros(0, 4)`.

    python examples/detector.py shapes.png
"""

import sys
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import interpolate, l1_loss, logsigmoid, max_pool2d
from torchvision.ops import box_iou
from torchvision.utils import draw_bounding_boxes, make_grid, save_image

import dla

CLASSES = ["rectangle", "ellipse"]
HEADS = {"hm": len(CLASSES), "wh": 2, "reg": 2}
STRIDE = 4  # of the maps
OVERLAP = 0.7  # that a box moved by a peak's radius keeps with itself

Scene = tuple[Tensor, Tensor, Tensor]


def scene(height: int = 96, width: int = 128) -> Scene:
    """An image with up to four bright shapes, which may hide each other, their boxes (n, 4) and classes (n,)."""
    image = 0.3 * torch.rand(3, height, width)
    sizes = 12 + 28 * torch.rand(int(torch.randint(1, 5, ())), 2)
    corners = torch.rand_like(sizes) * (torch.tensor([width, height]) - sizes)
    boxes, classes = torch.cat([corners, corners + sizes], 1), torch.randint(len(CLASSES), (len(sizes),))
    return with_shapes(image, boxes, classes, 0.4 + 0.6 * torch.rand(len(sizes), 3)), boxes, classes


def with_shapes(image: Tensor, boxes: Tensor, classes: Tensor, colors: Tensor) -> Tensor:
    """The image with a shape that fills each box, the later ones in front; `colors` are (n, 3)."""
    image = image.clone()
    y, x = torch.meshgrid(*(torch.arange(side) + 0.5 for side in image.shape[1:]), indexing="ij")
    for (x1, y1, x2, y2), kind, color in zip(boxes, classes, colors, strict=True):
        across, down = (2 * x - x1 - x2) / (x2 - x1), (2 * y - y1 - y2) / (y2 - y1)  # from -1 to 1 within the box
        inside = across.square() + down.square() < 1 if kind else (across.abs() < 1) & (down.abs() < 1)
        image[:, inside] = color[:, None]
    return image


def centers_and_sizes(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Of boxes (n, 4), each (n, 2)."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]


def radius(sizes: Tensor) -> Tensor:
    """How far boxes of sizes (n, 2) may move along both axes and keep `OVERLAP`.

    Moved by r, a box and itself have (w - r)(h - r) in common, of 2wh less that.
    """
    half, area = sizes.sum(1) / 2, sizes.prod(1)
    return half - (half.square() - area * (1 - OVERLAP) / (1 + OVERLAP)).sqrt()


def heatmap(centers: Tensor, radii: Tensor, classes: Tensor, like: Tensor) -> Tensor:
    """Like a heatmap (classes, h, w): 1 at the pixels (n, 2), x and y, and about each a Gaussian, a radius 3 sigmas."""
    heat = torch.zeros_like(like)
    y, x = torch.meshgrid(*(torch.arange(side, device=heat.device) for side in heat.shape[1:]), indexing="ij")
    sigmas = (radii / 3).clamp(min=1 / 6)  # CenterNet's least; a box without width would have none at all
    for (column, row), sigma, kind in zip(centers, sigmas, classes, strict=True):
        peak = torch.exp(-((x - column).square() + (y - row).square()) / (2 * sigma.square()))
        heat[kind] = torch.maximum(heat[kind], peak)
    return heat


def focal_loss(logits: Tensor, heat: Tensor) -> Tensor:
    """Equation 1, summed: peaks are to be found, and pixels near one are blamed less the nearer they are."""
    p = logits.sigmoid()
    missed = (1 - p).square() * logsigmoid(logits)
    invented = (1 - heat).pow(4) * p.square() * logsigmoid(-logits)
    return -torch.where(heat == 1, missed, invented).sum()


def loss(maps: dict[str, Tensor], scenes: list[Scene]) -> Tensor:
    """Equation 4, per object, or whole without any: the heatmap's, and at peaks the distances of sizes and offsets."""
    total, objects = torch.zeros(()), sum(len(boxes) for _, boxes, _ in scenes)
    for i, (_, boxes, classes) in enumerate(scenes):
        centers, sizes = centers_and_sizes(boxes / STRIDE)
        pixels = centers.long()
        columns, rows = pixels.T
        total = total + focal_loss(maps["hm"][i], heatmap(pixels, radius(sizes), classes, maps["hm"][i]))
        total = total + 0.1 * l1_loss(maps["wh"][i, :, rows, columns].T, sizes, reduction="sum")
        total = total + l1_loss(maps["reg"][i, :, rows, columns].T, centers - pixels, reduction="sum")
    return total / max(objects, 1)


def found(maps: dict[str, Tensor], least: float = 0.3, most: int = 100) -> tuple[Tensor, Tensor, Tensor]:
    """Of one image's maps the boxes (n, 4), their classes and scores (n,), the best first."""
    heat = maps["hm"].sigmoid()
    peaks = heat * (heat == max_pool2d(heat, 3, stride=1, padding=1))
    scores, places = peaks.flatten().topk(min(most, peaks.numel()))
    places, scores = places[scores > least], scores[scores > least]
    classes, rows, columns = torch.unravel_index(places, heat.shape)
    centers = torch.stack([columns, rows]) + maps["reg"][:, rows, columns]
    half = maps["wh"][:, rows, columns].clamp(min=0) / 2
    return STRIDE * torch.cat([centers - half, centers + half]).T, classes, scores


def train(steps: int, batch: int = 16) -> torch.nn.Module:
    """A detector after so many steps, each on new scenes."""
    model = dla.create_model("dla46_c_centernet", heads=HEADS, head_channels=64, decoder="plain")

    def of_new_scenes() -> Tensor:
        scenes = [scene() for _ in range(batch)]
        return loss(model(torch.stack([image for image, *_ in scenes])), scenes)

    return descended(model, of_new_scenes, steps)


def descended(model: torch.nn.Module, loss: Callable[[], Tensor], steps: int) -> torch.nn.Module:
    """The model after so many steps, for each of which `loss` is asked once."""
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=steps)
    for step in range(steps):
        value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
        if step % 25 == 24:
            print(f"step {step + 1} of {steps}: loss {value.item():.2f}", flush=True)
    return model.eval()


def drawn(image: Tensor, boxes: Tensor, classes: Tensor) -> Tensor:
    """The image, three times as large, with its boxes: those of rectangles are red, of ellipses green."""
    large, colors = interpolate(image[None], scale_factor=3)[0], [("red", "lime")[kind] for kind in classes]
    return draw_bounding_boxes(large, 3 * boxes, colors=colors, width=2) if len(boxes) else large


def main(path: str = "shapes.png", steps: int = 300) -> None:
    """Train, count what is found in 100 new scenes, and draw the first four."""
    torch.manual_seed(0)
    model, pictures = train(steps), []
    objects = hits = answers = 0
    for image, boxes, classes in (scene() for _ in range(100)):
        with torch.inference_mode():
            maps = {name: batch[0] for name, batch in model(image[None]).items()}
        ours, kinds, _ = found(maps)
        right = (box_iou(boxes, ours) > 0.5) & (classes[:, None] == kinds)
        objects, hits, answers = objects + len(boxes), hits + int(right.any(1).sum()), answers + len(ours)
        pictures.append(drawn(image, ours, kinds))
    print(f"{hits} of {objects} shapes found by {answers} boxes; {path} shows some")
    save_image(make_grid(pictures[:4], 4), path)


if __name__ == "__main__":
    main(*sys.argv[1:2])
