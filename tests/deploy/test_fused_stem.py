"""The fused stem computes what convolutions do: its kernel in Triton's interpreter, and on a GPU where there is one.

Kernels run in a process of their own: the interpreter is chosen when Triton is imported, and Triton cannot read what
the check of shapes makes of its functions. Run as a program, this file compares them and prints the differences.
"""

import copy
import json
import os
import subprocess
import sys
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode

import dla
from dla.deploy import DeployError, folded
from dla.deploy.fused_stem import FusedStem, bordered, empty_result, with_fused_stem


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


def convolutions(in_chans=3, channels=(16, 16, 32), window=7, stride=2, **options):
    stem, first, second = channels
    return (
        nn.Conv2d(in_chans, stem, window, padding=window // 2, **options),
        nn.Conv2d(stem, first, 3, padding=1, **options),
        nn.Conv2d(first, second, 3, stride, padding=1, **options),
    )


def network(name="dla34", *, seed=0, **options):
    """Random weights, norms and running statistics."""
    torch.manual_seed(seed)
    model = dla.create_model(name, width=0.5, num_classes=7, **options).eval()
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for values in (norm.weight.data, norm.running_var):
                values.uniform_(0.5, 1.5)
            for values in (norm.bias.data, norm.running_mean):
                values.normal_(0, 0.3)
    return model


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


def apart(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, in the largest value."""
    assert found.shape == expected.shape
    return float((found.float() - expected.float()).abs().max() / expected.abs().max())


@torch.inference_mode()
def compare(case: Case, device: str) -> float:
    """How far the kernel is from the convolutions in float32."""
    torch.manual_seed(0)
    stem = FusedStem(*convolutions(case.shape[1], case.channels, case.window, case.stride)).to(device)
    x = torch.randn(case.shape, device=device)
    expected = stem.layers(x)
    dtype = getattr(torch, case.dtype)
    return apart(by_kernel(stem.to(dtype), x.to(dtype), case.tiling), expected)


@torch.inference_mode()
def compare_network() -> float:
    """How far a network is from itself where stage 2's map comes from the kernel."""
    plain = network()
    fused = with_fused_stem(folded(plain))
    x = torch.randn(1, 3, 33, 37)
    middle = by_kernel(fused.stem, x, (8, 8, 64))
    return apart(fused.forward_head(fused.stages(middle)), plain(x))


@torch.inference_mode()
def compare_engines() -> dict[str, float]:
    """How far whole networks in bfloat16 are from themselves in float32, as they are and compiled, on the GPU."""
    plain = network().cuda()
    fused = with_fused_stem(folded(plain)).bfloat16()
    x = torch.randn(4, 3, 97, 65, device="cuda")
    compiled = torch.compile(fused, mode="max-autotune")
    compiled(x.bfloat16())
    return {name: apart(run(x.bfloat16()), plain(x)) for name, run in (("eager", fused), ("compiled", compiled))}


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
    environment = {**os.environ, "TRITON_INTERPRET": str(int(what == "interpreted"))}
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


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_a_gpu_gets_the_operation_with_the_convolutions_shape(kind):
    options = {"device": "cuda", "dtype": getattr(torch, kind)}
    with FakeTensorMode(), torch.inference_mode():
        stem = FusedStem(*convolutions(**options))
        x = torch.empty(2, 3, 19, 23, **options)
        found, expected = stem(x), stem.layers(x)
    assert found.is_contiguous(memory_format=torch.channels_last)  # the convolutions' are not
    assert not expected.is_contiguous(memory_format=torch.channels_last)
    assert (found.shape, found.dtype, found.device) == (expected.shape, expected.dtype, expected.device)


@pytest.fixture
def autocast():
    """As `torch.autocast` sets it, which refuses where there is no GPU."""
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    yield
    torch.set_autocast_enabled("cuda", before[0])
    torch.set_autocast_dtype("cuda", before[1])


@pytest.mark.usefixtures("autocast")
def test_autocast_gets_the_operation_too():
    with FakeTensorMode(), torch.inference_mode():
        found = FusedStem(*convolutions(device="cuda"))(torch.empty(2, 3, 19, 23, device="cuda"))
    assert found.dtype == torch.bfloat16
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("gradients", [False, True])
def test_a_gpu_in_float32_or_with_gradients_gets_the_convolutions(gradients):
    options = {"device": "cuda", "dtype": torch.float16 if gradients else torch.float32}
    with FakeTensorMode(), torch.set_grad_enabled(gradients):
        found = FusedStem(*convolutions(**options))(torch.empty(2, 3, 19, 23, **options))
    assert not found.is_contiguous(memory_format=torch.channels_last)
    assert found.requires_grad == gradients


def test_where_the_kernel_cannot_run_the_convolutions_do():
    convs = convolutions()
    stem, x = FusedStem(*copy.deepcopy(convs)), torch.randn(2, 3, 19, 23)
    expected = x
    for conv in convs:
        expected = conv(expected).relu()
    assert torch.equal(stem(x), expected)
    stem(x).sum().backward()  # with gradients
    assert all(layer.conv.weight.grad.abs().sum() > 0 for layer in stem.layers)


@pytest.mark.parametrize("name", ["dla34", "dla34up", "dla34ida", "dla34_centernet"])
def test_a_network_gives_what_it_gave(name):
    plain = network() if name == "dla34" else dla.create_model(name).eval()
    before = copy.deepcopy(plain.state_dict())
    fused = with_fused_stem(folded(plain))
    x = torch.randn(1, 3, 41, 37)
    with torch.no_grad():
        found, expected = fused(x), plain(x)
    for key in expected if isinstance(expected, dict) else ():
        torch.testing.assert_close(found[key], expected[key], rtol=1e-4, atol=1e-4)
    if not isinstance(expected, dict):
        assert apart(found, expected) < 1e-5
    assert [type(m) for m in fused.modules()].count(FusedStem) == 1
    assert all(torch.equal(value, before[key]) for key, value in plain.state_dict().items())


def test_all_maps_but_the_first_are_there():
    plain = network()
    fused, x = with_fused_stem(folded(plain)), torch.randn(1, 3, 37, 45)
    with torch.no_grad():
        found, expected = (m.forward_intermediates(x, [1, -1], intermediates_only=True) for m in (fused, plain))
    assert [apart(*pair) < 1e-5 for pair in zip(found, expected, strict=True)] == [True, True]
    for indices in (None, [0, 3], 6):
        with pytest.raises(DeployError, match="no map of the first stage"):
            fused.forward_intermediates(x, indices)


def test_features_without_the_first_map():
    plain = network(features_only=True)
    fused, x = with_fused_stem(folded(plain)), torch.randn(1, 3, 37, 45)
    with torch.no_grad():
        differences = [apart(*pair) for pair in zip(fused(x), plain(x), strict=True)]
    assert len(differences) == 5
    assert max(differences) < 1e-5
    with pytest.raises(DeployError, match="no map of the first stage"):
        with_fused_stem(folded(network(features_only=True, out_indices=(0, 3))))(x)


@pytest.mark.parametrize("stem_stride", [1, 2, 4])
def test_every_stem_stride(stem_stride):
    plain, x = network(stem_stride=stem_stride), torch.randn(1, 3, 21, 17)
    with torch.no_grad():
        assert apart(with_fused_stem(folded(plain))(x), plain(x)) < 1e-5


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Conv2d(3, 16, 7), "Conv2d has no DLA network"),
        (network(), "not Conv2d, BatchNorm2d, ReLU: fold it"),
        (folded(network(norm_layer="groupnorm")), "GroupNorm"),
        (folded(network(in_chans=5)), "at most 4 channels, not 5"),
        (folded(network(features_only=True, out_indices=[0])), "ends before"),
    ],
)
def test_what_cannot_be_fused_is_refused(model, message):
    with pytest.raises(DeployError, match=message):
        with_fused_stem(model)


def test_other_convolutions_are_refused():
    stem, first, second = convolutions(channels=(16, 128, 32))
    with pytest.raises(DeployError, match="at most 64 between, not 128"):
        FusedStem(stem, first, second)
    with pytest.raises(DeployError, match=r"padding=\(1, 1\).*, not Conv2d.*dilation"):
        FusedStem(stem, nn.Conv2d(16, 16, 3, padding=2, dilation=2), second)


def test_triton_is_loaded_by_the_kernel_alone():
    code = "import sys, dla.deploy, dla.deploy.fused_stem; print('triton' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "False"


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
