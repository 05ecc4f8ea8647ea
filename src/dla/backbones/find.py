"""Which maps an unknown module gives: their channels, strides and layout, and what sizes of images it takes."""

from typing import Any, NamedTuple

from torch import Tensor, nn

from dla.backbones.probe import FAILURES, SIZES, Layout, as_maps, layout, run_once

ODD_SIZE = (70, 97)


class Found(NamedTuple):
    """A module's maps, and what an image's sides must be multiples of for sizes of ceil(side / stride)."""

    layouts: list[Layout]
    multiple: int


def find_maps(module: nn.Module, in_chans: int = 3) -> Found:
    """Find the channels, strides and layout of the maps that `module` gives, and which sizes of images it takes.

    Raises:
        ValueError: the module fails on small images, or gives something other than maps.
    """
    size, layouts = _first_that_fits(module, in_chans)
    strides = [found.spec.stride for found in layouts]
    multiples = (1, max(strides), 2 * max(strides))  # the last where a map has an even number of pixels a side
    for multiple in multiples[1:] if _pads_by_size(module) else multiples:
        if _rounds_up(module, layouts, in_chans, multiple):
            return Found(layouts, multiple)
    raise ValueError(
        f"the backbone takes images of {size[0]} x {size[1]} pixels, but of {ODD_SIZE[0]} x {ODD_SIZE[1]} it gives no "
        f"maps of strides {strides}, not even padded to multiples of {' or '.join(map(str, multiples[1:]))}: build it "
        "so that it does"
    )


def _first_that_fits(module: nn.Module, in_chans: int) -> tuple[tuple[int, int], list[Layout]]:
    """A size of image of which the module gives maps of whole strides, and their layouts."""
    refusals: list[ValueError] = []
    for size in SIZES:
        try:
            maps = as_maps(_run(module, size, in_chans))
            return size, _confirmed(module, in_chans, size, maps, [_expect_map(x, size) for x in maps])
        except ValueError as error:
            refusals.append(error)
    of_taken = [error for error in refusals if error.__cause__ is None]  # of a size that it takes: they tell more
    raise (of_taken or refusals)[0]


def _run(module: nn.Module, size: tuple[int, int], in_chans: int) -> Any:
    try:
        return run_once(module, size, in_chans)
    except FAILURES as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(
            f"the backbone fails on images of {size[0]} x {size[1]} pixels with in_chans={in_chans} channels "
            f"({reason}): it must be made for so many channels, in_chans of timm's, and take images of any size; some "
            "of timm's do by an option, dynamic_img_size=True or strict_img_size=False, which a name gets by itself"
        ) from error


def _expect_map(x: Any, size: tuple[int, int]) -> Layout:
    found = layout(x, size)
    if found is None:
        what = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        remedy = "return a list or dictionary of maps, finest first"
        if isinstance(x, Tensor) and x.ndim == 4:
            remedy = "pad its convolutions, so that a map's sides are the image's, divided by its stride"
        raise ValueError(
            f"of an image of {size[0]} x {size[1]} pixels the backbone gives {what} where a map (1, channels, height, "
            f"width) was expected: it must {remedy}"
        )
    return found


def _confirmed(
    module: nn.Module, in_chans: int, size: tuple[int, int], maps: list[Any], layouts: list[Layout]
) -> list[Layout]:
    """The layouts with the strides of a long strip: of a small image, maps of the strides 16 and 17 have one size.

    They differ by a pixel once a side is as long as both strides multiplied, and a stride is at most 1.5 times what an
    image of these sizes shows. Where the module takes no such strip, the layouts stay as they are.

    Raises:
        ValueError: a map has one stride for the image and another for the strip.
    """
    coarsest = max(found.spec.stride for found in layouts)
    strip = (-(-size[0] // coarsest) * coarsest, 2 * coarsest * (coarsest + 4))
    try:
        long = as_maps(run_once(module, strip, in_chans))
    except FAILURES:
        long = []
    if len(long) != len(maps):
        return layouts
    confirmed = []
    for x, y, found in zip(maps, long, layouts, strict=True):
        sides = [(size, _sides(x, found)), (strip, _sides(y, found))]
        stride = next((s for s in range(1, 2 * size[0]) if all(_fits(*pair, s) for pair in sides)), None)
        if stride is None:
            seen = ", and ".join(f"a map of {b[0]} x {b[1]} of an image of {a[0]} x {a[1]} pixels" for a, b in sides)
            raise ValueError(f"the backbone gives {seen}: it must return maps whose sizes follow the image's")
        confirmed.append(found._replace(spec=found.spec._replace(stride=stride)))
    return confirmed


def _sides(x: Tensor, found: Layout) -> tuple[int, ...]:
    return tuple(x.shape[1:3] if found.channels_last else x.shape[2:])


def _fits(image: tuple[int, int], sides: tuple[int, ...], stride: int) -> bool:
    """Whether a map of the stride has these sides, rounded up or down."""
    return all(map_side in (side // stride, -(-side // stride)) for side, map_side in zip(image, sides, strict=True))


def _pads_by_size(module: nn.Module) -> bool:
    """Whether it pads as TensorFlow does, by layers that timm names so: strided ones put as much before an image of odd
    sides as behind it, and less before one of even sides, so that maps of the two lie a pixel apart. Sides that are
    multiples of all strides are padded alike everywhere.
    """
    return any(type(part).__name__.endswith("Same") for part in module.modules())


def _rounds_up(module: nn.Module, layouts: list[Layout], in_chans: int, multiple: int) -> bool:
    """Whether each map of an image of odd size, padded to multiples of `multiple`, has ceil(side / stride) pixels."""
    height, width = (-(-side // multiple) * multiple for side in ODD_SIZE)
    try:
        maps = as_maps(run_once(module, (height, width), in_chans))
    except FAILURES:
        return False
    if len(maps) != len(layouts):
        return False
    sizes = [_sides(x, found) for x, found in zip(maps, layouts, strict=True)]
    return sizes == [(-(-height // spec.stride), -(-width // spec.stride)) for spec, _ in layouts]
