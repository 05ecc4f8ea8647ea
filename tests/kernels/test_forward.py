"""Kernels of inference compute what PyTorch does: convolutions of few channels, nodes and pooling.

Kernels run in a process of their own (`own_process`): interpreted, or on a GPU where there is one. Run as a program,
this file compares them and prints the differences.
"""

import json
import math
import sys
from typing import NamedTuple
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from own_process import difference, in_own_process

from dla.kernels.packing import filled, packed


class Conv(NamedTuple):
    """A map, and a convolution of it."""

    shape: tuple[int, int, int, int]
    channels: int = 16
    window: int = 3
    stride: int = 1
    bias: bool = True
    relu: bool = True
    dtype: str = "float32"


class Node(NamedTuple):
    """Images and their sides, channels of the maps and of the result, and what a program computes at a time."""

    shape: tuple[int, int, int]
    inputs: tuple[int, ...]
    outputs: int = 48
    tiling: tuple[int, int, int] | str | None = (16, 16, 32)
    channels_last: bool = True


CONVOLVED = {
    "stride 2": Conv((2, 16, 9, 23), 32, stride=2),
    "stride 2, even": Conv((1, 16, 8, 10), 32, stride=2),
    "stride 2 without bias": Conv((1, 16, 7, 5), 32, stride=2, bias=False),
    "stride 2, 7x7 of an image": Conv((2, 3, 9, 11), window=7, stride=2),
    "stride 2, one pixel": Conv((3, 16, 1, 1), 32, stride=2),
    "two pixels": Conv((2, 16, 9, 23)),
    "two pixels, even": Conv((1, 16, 6, 8), 64),
    "neither bias nor ReLU": Conv((1, 16, 7, 5), bias=False, relu=False),
    "without ReLU": Conv((1, 16, 7, 5), relu=False),
    "without bias": Conv((1, 16, 7, 5), bias=False),
    "12 channels": Conv((2, 5, 7, 9), 12),
    "12 channels, stride 2": Conv((2, 12, 7, 9), 12, stride=2),
    "7x7 of an image": Conv((1, 3, 9, 13), window=7),
    "1x1": Conv((2, 7, 5, 4), 24, window=1),
    "one pixel": Conv((3, 16, 1, 1)),
    "float16": Conv((1, 16, 9, 7), 32, dtype="float16"),
}
COMBINED = {
    "one map": Node((2, 5, 7), (20,)),
    "two maps": Node((2, 5, 7), (48, 20)),
    "three maps": Node((1, 9, 4), (16, 48, 20)),
    "four maps": Node((2, 3, 5), (64, 20, 48, 4), 128),
    "wide programs": Node((2, 5, 7), (48, 20), 128, (64, 64, 128)),
    "not channels last": Node((2, 5, 7), (48, 20), channels_last=False),
    "one position": Node((1, 1, 1), (20, 20)),
}
POOLED = {
    "odd": (2, 20, 9, 7),
    "odd width": (1, 16, 8, 5),
    "even": (3, 4, 6, 8),
    "several programs": (2, 48, 15, 13),
    "one channel": (2, 1, 5, 5),
    "one row": (2, 8, 1, 6),
    "one pixel": (2, 8, 1, 1),
}
CONVOLVED_ON_GPU = {
    "image": Conv((33, 3, 224, 224), window=7),
    "image, odd": Conv((33, 3, 223, 181), window=7),
    "first": Conv((33, 16, 224, 224)),
    "first, odd": Conv((33, 16, 223, 181)),
    "second": Conv((33, 16, 224, 224), 32, stride=2),
    "second, odd": Conv((33, 16, 223, 181), 32, stride=2),
    "12 channels": Conv((4, 5, 97, 65), 12, relu=False),
}
COMBINED_ON_GPU = {
    f"{name}, {tiling or 'what suits'}": Node(shape, inputs, outputs, tiling)
    for name, shape, inputs, outputs in (
        ("fine", (33, 56, 56), (64, 64), 64),
        ("middle", (4, 28, 27), (128, 128, 64, 128), 128),
        ("coarse", (1, 7, 7), (512, 512, 256), 512),
        ("unusual", (2, 29, 31), (20, 48, 36), 72),
    )
    for tiling in ("LARGE", "SMALL", None)
}
POOLED_ON_GPU = {"large": (33, 32, 112, 112), "large, odd": (33, 32, 223, 181), "small": (1, 256, 7, 7)}
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def random(shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    return torch.randn(shape, dtype=like.dtype, device=like.device)


def guarded(x: torch.Tensor) -> torch.Tensor:
    """The map, channels last, with what is no number right behind it in memory."""
    flat = x.permute(0, 2, 3, 1).flatten()
    memory = torch.cat([flat, torch.full_like(flat[:1], torch.nan).expand(256)])[: len(flat)]
    return memory.view(len(x), *x.shape[2:], x.shape[1]).permute(0, 3, 1, 2)


@torch.inference_mode()
def compare_convolution(case: Conv, x: torch.Tensor) -> float:
    """How far the kernel, of such numbers as `x`, is from PyTorch in float32."""
    from dla.kernels import rows

    x, weight = random(case.shape, x), random((case.channels, case.shape[1], case.window, case.window), x) / 8
    bias = random((case.channels,), x) if case.bias else None
    whole = x.float(), weight.float(), None if bias is None else bias.float()
    expected = F.conv2d(*whole, stride=case.stride, padding=case.window // 2)
    expected = expected.relu() if case.relu else expected
    inputs = next(count for count in (4, 8, 16) if count >= x.shape[1])
    pixels = 2 if case.stride == 1 else 1
    columns = packed(weight, inputs, pixels)
    if bias is not None:
        bias = F.pad(bias.repeat(pixels), (0, columns.shape[2] - pixels * case.channels))
    sizes = {"channels": case.channels, "stride": case.stride, "pixels": pixels, "relu": case.relu}
    found = rows.convolve(guarded(filled(x, inputs)), columns, bias, **sizes, block=None if x.is_cuda else 16)
    assert found.is_contiguous(memory_format=torch.channels_last)
    return difference(expected, found)


@torch.inference_mode()
def compare_node(case: Node, x: torch.Tensor) -> float:
    """As `compare_convolution`."""
    from dla.kernels import maps

    images, *sides = case.shape
    inputs = [random((images, c, *sides), x) for c in case.inputs]
    weight, bias = random((sum(case.inputs), case.outputs), x) / 8, random((case.outputs,), x)
    expected = F.conv2d(torch.cat(inputs, 1).float(), weight.t()[..., None, None].float(), bias.float()).relu()
    tiling = getattr(maps, case.tiling) if isinstance(case.tiling, str) else case.tiling and maps.Tiling(*case.tiling)
    given = [guarded(part) for part in inputs] if case.channels_last else inputs
    return difference(expected, maps.combine(given, weight, bias, tiling))


@torch.inference_mode()
def compare_pool(shape: tuple[int, ...], x: torch.Tensor) -> float:
    """1 if anything differs, and 0 if nothing does; most numbers are negative."""
    from dla.kernels import maps

    x = random(shape, x) - 1
    return float(not torch.equal(maps.pool(guarded(x)), F.max_pool2d(x, 2, 2, ceil_mode=True)))


def compare_all(convolved, combined, pooled, x: torch.Tensor) -> dict[str, dict[str, float]]:
    torch.manual_seed(0)
    return {
        "convolve": {n: compare_convolution(c, x.to(getattr(torch, c.dtype))) for n, c in convolved.items()},
        "combine": {name: compare_node(case, x) for name, case in combined.items()},
        "pool": {name: compare_pool(shape, x) for name, shape in pooled.items()},
    }


def program(file, kernel: str, call) -> list[int]:
    """Warp-group products, loads of 16 bytes and narrower ones in the program that `call` would launch on an H100."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    with mock.patch.object(file, kernel) as launched:
        call()
    positional, named = launched.__getitem__.return_value.call_args
    function = getattr(file, kernel)
    values = dict(zip(function.arg_names, positional, strict=False)) | named
    options = {name: values.pop(name) for name in set(values) - set(function.arg_names)}
    constants = {part.name: values.pop(part.name) for part in function.params if part.is_constexpr}
    types, aligned = dict.fromkeys(function.arg_names, "constexpr"), []
    for name, value in values.items():
        place = function.arg_names.index(name)
        several = isinstance(value, tuple)
        types[name] = ("*bf16",) * len(value) if several else "i32" if isinstance(value, int) else "*bf16"
        if not isinstance(value, int) or value % 16 == 0:
            aligned += [(place, i) for i in range(len(value))] if several else [(place,)]
    source = ASTSource(function, types, constants, {path: [["tt.divisibility", 16]] for path in aligned})
    code = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm["ptx"]
    return [code.count(what) for what in ("wgmma.mma_async", "cp.async.cg", "cp.async.ca")]


def compile_for_an_h100() -> dict[str, dict[str, list[int]]]:
    """What the programs have, by kernel and name; needs no GPU."""
    from dla.kernels import maps, maps_kernel, rows, rows_kernel

    like = torch.empty(0, dtype=torch.bfloat16, device="meta")
    found: dict[str, dict[str, list[int]]] = {"convolve": {}, "combine": {}}
    for inputs, channels, window, stride in ((4, 16, 7, 1), (16, 16, 3, 1), (16, 32, 3, 2)):
        pixels = 2 if stride == 1 else 1
        weight = packed(like.new_empty(channels, inputs, window, window), inputs, pixels)
        sizes = {"channels": channels, "stride": stride, "pixels": pixels, "relu": True}
        given = like.new_empty(4, inputs, 224, 224), weight, like.new_empty(weight.shape[2])
        found["convolve"][f"{window}x{window} / {stride}"] = program(
            rows_kernel, "convolve", lambda given=given, sizes=sizes: rows.convolve(*given, **sizes)
        )
    given = [like.new_empty(4, c, 28, 28) for c in (128, 128, 64)], like.new_empty(320, 128), like.new_empty(128)
    for name in ("LARGE", "SMALL"):
        found["combine"][name] = program(
            maps_kernel, "combine", lambda name=name: maps.combine(*given, getattr(maps, name))
        )
    return found


@pytest.mark.parametrize("name", CONVOLVED)
def test_convolutions_with_few_channels(interpreted, name):
    assert interpreted["convolve"][name] < (1e-3 if name == "float16" else 1e-6)


@pytest.mark.parametrize("name", COMBINED)
def test_nodes_without_concatenation(interpreted, name):
    assert interpreted["combine"][name] < 1e-6


@pytest.mark.parametrize("name", POOLED)
def test_pooling(interpreted, name):
    assert interpreted["pool"][name] == 0


@pytest.mark.parametrize("call", ["convolve", "weight_gradient", "combine", "pool"])
def test_they_run_on_the_gpu_of_their_maps(call):
    """Triton's own choice is the current one, to which the maps may not belong."""
    pytest.importorskip("triton")
    from dla.kernels import gradient_kernel, maps, maps_kernel, rows, rows_kernel

    x, weight = torch.randn(1, 4, 5, 6), packed(torch.randn(16, 4, 3, 3), 4, 2)
    kernels, run = {
        "convolve": (rows_kernel, lambda: rows.convolve(x, weight, None, channels=16)),
        "weight_gradient": (gradient_kernel, lambda: rows.weight_gradient(x, x, window=3, programs=1)),
        "combine": (maps_kernel, lambda: maps.combine([x], torch.randn(4, 16), torch.randn(16), maps.SMALL)),
        "pool": (maps_kernel, lambda: maps.pool(x)),
    }[call]
    order = mock.MagicMock()
    with mock.patch("torch.cuda.device_of", order.device_of), mock.patch.object(kernels, call, order.kernel):
        run()
    names = [name for name, _, _ in order.mock_calls]
    launch = "kernel.__getitem__()"
    assert names.index("device_of().__enter__") < names.index(launch) < names.index("device_of().__exit__")


def test_any_number_of_positions_is_a_grid():
    """Of its three axes, only the first one may be longer than 65535."""
    pytest.importorskip("triton")
    from dla.kernels import maps, maps_kernel

    large = torch.empty(64, 32, 512, 1024, device="meta")
    with mock.patch.object(maps_kernel, "combine") as kernel:
        maps.combine([large], torch.empty(32, 200, device="meta"), torch.empty(200, device="meta"), maps.LARGE)
    (grid,) = kernel.__getitem__.call_args.args
    assert math.prod(grid) == 2 * 64 * 512 * 1024 // 128
    assert max(grid[1:], default=1) <= 65535


@pytest.mark.slow
def test_they_compile_for_an_h100_with_wide_loads():
    pytest.importorskip("triton")
    found = in_own_process(__file__, "compiled")
    for products, _, _ in found["combine"].values():
        assert products > 0
    for name, (products, wide, narrow) in found["convolve"].items():
        assert products > 0
        assert wide > narrow
        assert narrow == 0 or name == "7x7 / 1"  # whose weights are too few for 16 bytes each


@needs_gpu
@pytest.mark.slow
@pytest.mark.parametrize("name", CONVOLVED_ON_GPU)
def test_convolutions_on_a_gpu(on_gpu, name):
    assert on_gpu["convolve"][name] < 5e-3


@needs_gpu
@pytest.mark.slow
@pytest.mark.parametrize("name", COMBINED_ON_GPU)
def test_nodes_on_a_gpu(on_gpu, name):
    assert on_gpu["combine"][name] < 5e-3


@needs_gpu
@pytest.mark.slow
@pytest.mark.parametrize("name", POOLED_ON_GPU)
def test_pooling_on_a_gpu(on_gpu, name):
    assert on_gpu["pool"][name] == 0


if __name__ == "__main__":
    torch.backends.cudnn.allow_tf32 = False
    if sys.argv[1] == "interpreted":
        torch.use_deterministic_algorithms(True)  # fills what is allocated with not-a-number
        print(json.dumps(compare_all(CONVOLVED, COMBINED, POOLED, torch.empty(0))))
    elif sys.argv[1] == "compiled":
        print(json.dumps(compile_for_an_h100()))
    else:
        on_gpu = {name: case._replace(dtype="bfloat16") for name, case in CONVOLVED_ON_GPU.items()}
        like = torch.empty(0, dtype=torch.bfloat16, device="cuda")
        print(json.dumps(compare_all(on_gpu, COMBINED_ON_GPU, POOLED_ON_GPU, like)))
