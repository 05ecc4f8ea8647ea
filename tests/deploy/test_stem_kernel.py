"""The kernel computes what convolutions do: in Triton's interpreter, and on a GPU where there is one.

Kernels run in a process of their own: the interpreter is chosen when Triton is imported, and Triton cannot read what
the check of shapes makes of its functions. Run as a program, this file compares them and prints the differences.
"""

import json
import os
import subprocess
import sys
from typing import NamedTuple

import pytest
import torch
from disturbed import disturb
from torch import nn

import dla
from dla.deploy import folded
from dla.deploy.fused_stem import FusedStem, bordered, empty_result, with_fused_stem
from dla.deploy.outputs import difference


class Case(NamedTuple):
    """Images, a tiling (none: the fastest of all), and channels of the stem and the two stages."""

    shape: tuple[int, int, int, int]
    tiling: tuple[int, ...] | None
    channels: tuple[int, int, int] = (16, 16, 32)
    window: int = 7
    stride: int = 2
    dtype: str = "float32"


INTERPRETED = {
    "odd sizes, two images": Case((2, 3, 19, 23), (4, 8, 128)),
    "two tiles down, one across": Case((1, 3, 33, 17), (8, 16, 128)),
    "blocks of 16": Case((3, 3, 5, 10), (2, 4, 16)),
    "four channels": Case((1, 4, 11, 13), (8, 8, 64)),
    "one channel": Case((1, 1, 12, 16), (8, 8, 64)),
    "a single pixel": Case((1, 3, 1, 1), (4, 8, 64)),
    "other widths": Case((1, 3, 13, 10), (4, 4, 32), (8, 32, 48)),
    "stem of stride 1": Case((1, 3, 10, 13), (4, 4, 32), window=3, stride=1),
    "half precision": Case((1, 3, 13, 19), (4, 8, 64), dtype="float16"),
}
ON_GPU = {
    "one image": Case((1, 3, 224, 224), None, dtype="bfloat16"),
    "many, odd": Case((33, 3, 223, 181), None, dtype="bfloat16"),
    "four channels": Case((2, 4, 97, 65), (8, 16), dtype="bfloat16"),
    "large tiles": Case((2, 3, 224, 224), (16, 16, 128, 8), dtype="float16"),
    "other widths": Case((2, 3, 97, 65), (8, 8, 64), (8, 32, 48), dtype="bfloat16"),
    "stem of stride 1": Case((2, 3, 64, 65), (8, 8, 64), window=3, stride=1, dtype="float16"),
}
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def convolutions(in_chans=3, channels=(16, 16, 32), window=7, stride=2):
    stem, first, second = channels
    return (
        nn.Conv2d(in_chans, stem, window, padding=window // 2),
        nn.Conv2d(stem, first, 3, padding=1),
        nn.Conv2d(first, second, 3, stride, padding=1),
    )


def network():
    return disturb(dla.create_model("dla34", width=0.5, num_classes=7))


@torch.inference_mode()
def by_kernel(stem: FusedStem, x: torch.Tensor, tiling: tuple[int, ...] | None) -> torch.Tensor:
    """What the kernel writes; where it is interpreted, its programs are those of one multiprocessor."""
    from dla.deploy.stem_launch import Tiling, launch

    image = bordered(x, stem.border)
    out = empty_result(image, 2 * stem.border + 1, stem.stride, stem.out_channels)
    weights, biases = [layer.weight for layer in stem.layers], [layer.bias for layer in stem.layers]
    tiling = None if tiling is None else Tiling(*tiling)
    launch(image, weights, biases, out, stride=stem.stride, tiling=tiling, processors=None if x.is_cuda else 1)
    return out


@torch.inference_mode()
def compare(case: Case, device: str) -> float:
    """How far the kernel is from the convolutions in float32."""
    torch.manual_seed(0)
    stem = FusedStem(*convolutions(case.shape[1], case.channels, case.window, case.stride)).to(device)
    x = torch.randn(case.shape, device=device)
    expected = stem.layers(x)
    dtype = getattr(torch, case.dtype)
    return difference([expected], [by_kernel(stem.to(dtype), x.to(dtype), case.tiling)])


@torch.inference_mode()
def compare_network() -> float:
    """How far a network is from itself where stage 2's map comes from the kernel."""
    plain = network()
    fused = with_fused_stem(folded(plain))
    x = torch.randn(1, 3, 33, 37)
    middle = by_kernel(fused.stem, x, (8, 8, 64))
    return difference([plain(x)], [fused.forward_head(fused.stages(middle))])


@torch.inference_mode()
def compare_engines() -> dict[str, float]:
    """How far whole networks in bfloat16 are from themselves in float32, as they are and compiled, on the GPU."""
    plain = network().cuda()
    fused = with_fused_stem(folded(plain)).bfloat16()
    x = torch.randn(4, 3, 97, 65, device="cuda")
    compiled = torch.compile(fused, mode="max-autotune")
    compiled(x.bfloat16())
    return {
        name: difference([plain(x)], [run(x.bfloat16())]) for name, run in (("eager", fused), ("compiled", compiled))
    }


def compile_for_an_h100() -> dict[str, int]:
    """Warp-group matrix products in the program of every tiling of the launch, for the paper's widths; needs no GPU."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from dla.deploy.stem_kernel import kernel
    from dla.deploy.stem_launch import TILINGS

    rows = {"stem_row": 32, "first_row": 64, "second_row": 64}
    sizes = {"window": 7, "pixel": 4, "stride": 2, "stem": 16, "first": 16, "second": 32, **rows}
    numbers = ("images", "height", "width", "out_height", "out_width", "channels")
    found = {}
    for tiling in TILINGS:
        constants = {**sizes, **tiling.constants}
        types = {name: "i32" if name in numbers else "*bf16" for name in kernel.arg_names}
        source = ASTSource(kernel, {**types, **dict.fromkeys(constants, "constexpr")}, constexprs=constants)
        program = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": tiling.warps})
        found[str(tiling)] = program.asm["ptx"].count("wgmma.mma_async")
    return found


def in_own_process(what: str) -> dict[str, float]:
    mode = {"TRITON_INTERPRET": str(int(what == "interpreted"))}
    environment = {**os.environ, **mode, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, __file__, what]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def interpreted():
    pytest.importorskip("triton")
    return in_own_process("interpreted")


@pytest.fixture(scope="module")
def on_gpu():
    return in_own_process("gpu")


@pytest.mark.parametrize("name", [*INTERPRETED, "network"])
def test_the_kernel_computes_what_the_convolutions_do(interpreted, name):
    half = INTERPRETED[name].dtype == "float16" if name in INTERPRETED else False
    assert interpreted[name] < (2e-3 if half else 2e-6)


@pytest.mark.slow
def test_every_tiling_compiles_for_an_h100():
    pytest.importorskip("triton")
    found = in_own_process("compiled")
    assert len(found) == 7
    assert min(found.values()) > 0


@needs_gpu
@pytest.mark.slow
@pytest.mark.parametrize("name", [*ON_GPU, "eager", "compiled"])
def test_the_kernel_computes_what_the_convolutions_do_on_a_gpu(on_gpu, name):
    assert on_gpu[name] < (5e-2 if name in ("eager", "compiled") else 1e-2)


if __name__ == "__main__":
    if sys.argv[1] == "interpreted":
        torch.use_deterministic_algorithms(True)  # fills what is allocated with not-a-number
        found = {name: compare(case, "cpu") for name, case in INTERPRETED.items()}
        print(json.dumps({**found, "network": compare_network()}))
    elif sys.argv[1] == "compiled":
        print(json.dumps(compile_for_an_h100()))
    else:
        found = {name: compare(case, "cuda") for name, case in ON_GPU.items()}
        print(json.dumps({**found, **compare_engines()}))
