"""Convolutions of images and their gradients are those of PyTorch, and the kernels are there where they can run.

Kernels run in a process of their own (`own_process`): interpreted, or on a GPU where there is one. Run as a program,
this file compares them and prints the differences.
"""

import copy
import json
import pickle
import sys
from typing import NamedTuple
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from own_process import difference, in_own_process
from torch import nn
from torch._subclasses import FakeTensorMode

import dla
from dla.kernels import image_conv
from dla.kernels.image_conv import ImageConv2d
from dla.kernels.packing import filled, packed, unpacked


class Case(NamedTuple):
    """Images, and channels and window of a convolution; groups of positions and programs of its weight's gradient."""

    shape: tuple[int, int, int, int]
    channels: int = 16
    window: int = 7
    block: int = 16
    programs: int = 3


INTERPRETED = {
    "odd sizes": Case((2, 3, 9, 23)),
    "even width": Case((2, 3, 8, 10)),
    "blocks across": Case((1, 3, 4, 71)),
    "a single pixel": Case((1, 3, 1, 1), programs=1),
    "one channel": Case((3, 1, 5, 12)),
    "four channels": Case((1, 4, 11, 13), channels=8),
    "window of 3": Case((2, 3, 9, 23), channels=32, window=3),
    "window of 3, even": Case((2, 4, 5, 8), window=3, programs=2),
    "window of 1": Case((2, 3, 5, 7), window=1),
    "more programs than blocks": Case((1, 3, 2, 5), channels=2, window=5, programs=7),
}
ON_GPU = {"large, odd": (33, 3, 223, 181), "of ImageNet": (4, 3, 224, 224)}
KINDS = ("as it is", "autocast", "compiled")
PARTS = ("result", "weight", "image")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def with_gradients(run, weight, x, gradient) -> list[torch.Tensor]:
    """The result, and the gradients of weight and images."""
    weight.grad, x = None, x.detach().requires_grad_()
    out = run(x)
    out.backward(gradient.to(out.dtype))
    return [out.detach(), weight.grad, x.grad]


def compare(case: Case) -> list[float]:
    """How far the kernels' result and weight gradient are from PyTorch's."""
    from dla.kernels import rows

    torch.manual_seed(0)
    x, weight = torch.randn(case.shape), torch.randn(case.channels, case.shape[1], case.window, case.window)
    weight.requires_grad_()
    expected = F.conv2d(x, weight, padding=case.window // 2)
    gradient = torch.randn_like(expected)
    expected.backward(gradient)
    image = filled(x, 4)
    out = rows.convolve(image, packed(weight.detach(), 4, 2), None, channels=case.channels, block=16)
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    sizes = {"block": case.block, "programs": case.programs}
    flat = rows.weight_gradient(image, gradient, window=case.window, **sizes)
    return [difference(expected, out), difference(weight.grad, unpacked(flat, weight.shape, 4, 2))]


def compare_operation() -> list[float]:
    """How far the operation, registered for a CPU as well, and its gradients are from PyTorch's."""
    for operation in (image_conv.image_convolution, image_conv.image_convolution_weight_gradient):
        operation.register_kernel("cpu")(operation._init_fn)
    torch.manual_seed(0)
    weight, x = torch.randn(16, 3, 3, 3, requires_grad=True), torch.randn(2, 3, 5, 9)
    gradient = torch.randn(2, 16, 5, 9)
    expected = with_gradients(lambda x: F.conv2d(x, weight, padding=1), weight, x, gradient)
    with mock.patch("torch.cuda.get_device_properties", return_value=mock.Mock(multi_processor_count=1)):
        found = with_gradients(lambda x: image_conv.image_convolution(x, weight), weight, x, gradient)
    return [difference(*pair) for pair in zip(expected, found, strict=True)]


def compare_on_gpu(shape: tuple[int, int, int, int]) -> dict[str, dict[str, float]]:
    """How far results and gradients in bfloat16 are from PyTorch's in float32, from the same rounded numbers."""
    torch.manual_seed(0)
    conv = ImageConv2d(shape[1], 16, 7, padding=3, bias=False, device="cuda").bfloat16()
    precise, plain = copy.deepcopy(conv).float(), nn.Conv2d(shape[1], 16, 7, padding=3, bias=False, device="cuda")
    plain.load_state_dict(precise.state_dict())
    x = torch.randn(shape, device="cuda").bfloat16()
    gradient = torch.randn(shape[0], 16, *shape[2:], device="cuda").bfloat16()
    expected = with_gradients(plain, plain.weight, x.float(), gradient)
    mixed = torch.autocast("cuda", torch.bfloat16)(lambda image: precise(image))
    runs = (conv, conv.weight, x), (mixed, precise.weight, x.float()), (torch.compile(conv), conv.weight, x)
    found = {}
    for kind, (run, weight, image) in zip(KINDS, runs, strict=True):
        values = with_gradients(run, weight, image, gradient)
        assert values[0].is_contiguous(memory_format=torch.channels_last)  # cudnn's is not
        found[kind] = {part: difference(*pair) for part, *pair in zip(PARTS, expected, values, strict=True)}
    return found


def compile_for_an_h100() -> dict[str, list[int]]:
    """Warp-group products, wide loads and narrow ones of the gradient's program by channels; needs no GPU."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from dla.kernels.gradient_kernel import weight_gradient as kernel

    numbers, found = ("images", "height", "width"), {}
    types = {name: "i32" if name in numbers else "*bf16" for name in kernel.arg_names} | {"partial": "*fp32"}
    aligned = {(kernel.arg_names.index(name),): [["tt.divisibility", 16]] for name in ("image", "gradient", "width")}
    for channels in (16, 32, 64):
        sizes = {"window": 7, "pixels": 2, "step": 4, "row_inputs": 32, "rows": 8, "k": 32, "block": 64, "stages": 3}
        constants = {**sizes, "channels": channels, "n": 2 * channels}
        source = ASTSource(kernel, {**types, **dict.fromkeys(constants, "constexpr")}, constants, aligned)
        options = {"num_warps": 8 if channels == 64 else 4}
        code = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm["ptx"]
        found[str(channels)] = [code.count(what) for what in ("wgmma.mma_async", "cp.async.cg", "cp.async.ca")]
    return found


@pytest.mark.parametrize("name", [*INTERPRETED, "operation"])
def test_the_kernels_compute_what_pytorch_does(interpreted, name):
    assert max(interpreted[name]) < 1e-6


@pytest.mark.slow
def test_the_gradient_compiles_for_an_h100_with_wide_loads():
    pytest.importorskip("triton")
    for products, wide, narrow in in_own_process(__file__, "compiled").values():
        assert products > 0
        assert wide > 0
        assert narrow == 0


@needs_gpu
@pytest.mark.slow
@pytest.mark.parametrize("name", ON_GPU)
@pytest.mark.parametrize("kind", KINDS)
def test_the_kernels_compute_what_pytorch_does_on_a_gpu(on_gpu, name, kind):
    assert max(on_gpu[name][kind].values()) < 5e-3


def convolution(outputs=16, inputs=3, window=7, dtype=torch.bfloat16, **options):
    options = {"padding": window // 2, "bias": False, **options}
    return ImageConv2d(inputs, outputs, window, dtype=dtype, device="cuda", **options)


def by_kernels(conv, dtype=torch.bfloat16, shape=(2, 3, 19, 23)) -> bool:
    """Whether the kernels are taken, whose results alone are channels last for images that are not."""
    out = conv(torch.empty(shape, dtype=dtype, device="cuda"))
    return out.is_contiguous(memory_format=torch.channels_last) if out.dim() == 4 else False


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_gpu_gets_the_kernels_with_the_convolutions_shapes(dtype):
    with FakeTensorMode():
        conv, x = convolution(dtype=dtype), torch.empty(2, 3, 19, 23, dtype=dtype, device="cuda")
        found, expected = conv(x), nn.Conv2d.forward(conv, x)
        assert by_kernels(conv, dtype)
        gradient = image_conv.image_convolution_weight_gradient(x, found, 7)
    assert (found.shape, found.dtype, found.device) == (expected.shape, expected.dtype, expected.device)
    assert (gradient.shape, gradient.dtype, gradient.device) == (conv.weight.shape, dtype, conv.weight.device)


def test_transforms_of_torch_func_get_conv2d():
    """For them, PyTorch knows no gradient of operations such as ours, and takes the weights of an ensemble in turn."""
    with FakeTensorMode():
        conv, x = convolution(), torch.empty(2, 3, 19, 23, dtype=torch.bfloat16, device="cuda")
        run = lambda weight: torch.func.functional_call(conv, {"weight": weight}, (x,))  # noqa: E731
        assert torch.func.vjp(run, conv.weight)[0].shape == (2, 16, 19, 23)
        assert torch.vmap(run)(torch.stack(3 * [conv.weight])).shape == (3, 2, 16, 19, 23)


@pytest.mark.parametrize(
    "options",
    [
        {"outputs": 24},
        {"outputs": 128},
        {"window": 9},
        {"padding": (3, 1)},
        {"window": 4, "padding": 2},
        {"padding": 1},
        {"padding": "same"},
        {"padding_mode": "reflect"},
        {"stride": 2},
        {"dilation": 2},
        {"bias": True},
        {"inputs": 8},
        {"groups": 4, "inputs": 4},
        {"dtype": torch.float32},
    ],
    ids=str,
)
def test_other_convolutions_stay_as_they_are(options):
    with FakeTensorMode():
        conv = convolution(**options)
        assert not by_kernels(conv, conv.weight.dtype, (2, conv.in_channels, 19, 23))


def test_other_images_stay_with_conv2d(monkeypatch):
    with FakeTensorMode():
        conv = convolution()
        assert by_kernels(conv)
        assert not by_kernels(conv, shape=(3, 19, 23))
        assert conv(torch.empty(0, 3, 4, 5, dtype=torch.bfloat16, device="cuda")).shape == (0, 16, 4, 5)
        with pytest.raises(RuntimeError, match="channels"):
            by_kernels(conv, shape=(2, 4, 19, 23))
        for module, tracing in ((torch.compiler, "is_exporting"), (torch.jit, "is_tracing")):
            monkeypatch.setattr(module, tracing, lambda: True)
            assert not by_kernels(conv)
            monkeypatch.undo()
        monkeypatch.setattr(image_conv, "HAS_TRITON", False)
        assert not by_kernels(conv)


@pytest.fixture
def autocast():
    """As `torch.autocast` sets it, which refuses where there is no GPU."""
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", torch.float16)
    yield
    torch.set_autocast_enabled("cuda", before[0])
    torch.set_autocast_dtype("cuda", before[1])


@pytest.mark.usefixtures("autocast")
def test_autocast_gets_the_kernels_too():
    with FakeTensorMode():
        conv = convolution(dtype=torch.float32)
        assert conv(torch.empty(2, 3, 19, 23, device="cuda")).dtype == torch.float16
        assert by_kernels(conv, torch.float32)
        assert by_kernels(conv, torch.bfloat16)


def copies(**options: object) -> tuple[ImageConv2d, nn.Conv2d]:
    conv, plain = ImageConv2d(3, 16, 7, padding=3, bias=False), nn.Conv2d(3, 16, 7, padding=3, bias=False)
    plain.load_state_dict(conv.state_dict())
    return conv.to(**options), plain.to(**options)


def test_on_a_cpu_it_is_conv2d():
    conv, plain = copies()
    x = torch.randn(2, 3, 9, 11)
    assert torch.equal(conv.eval()(x), plain(x))
    assert conv(x).is_contiguous()
    again = pickle.loads(pickle.dumps(conv))
    assert torch.equal(again(x), conv(x))
    assert repr(again) == f"Image{plain}"


@pytest.mark.skipif(not image_conv.HAS_ONEDNN, reason="needs PyTorch with oneDNN")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_in_training_on_a_cpu_the_maps_are_channels_last(dtype):
    conv, plain = copies(dtype=dtype)
    x, gradient = torch.randn(2, 3, 9, 11, dtype=dtype), torch.randn(2, 16, 9, 11, dtype=dtype)
    found, expected = (with_gradients(module, module.weight, x, gradient) for module in (conv, plain))
    torch.testing.assert_close(found, expected)
    assert found[0].is_contiguous(memory_format=torch.channels_last)
    assert found[1].is_contiguous()  # as the weight, which optimizers want
    assert conv(x[0]).shape == (16, 9, 11)


def test_ensembles_are_trained_by_vmap():
    model, x = dla.create_model("dla46_c", num_classes=3).double(), torch.randn(3, 2, 3, 33, 47, dtype=torch.double)
    models = [dla.create_model("dla46_c", num_classes=3).double() for _ in range(3)]
    state = torch.func.stack_module_state(models)
    together = torch.vmap(lambda *own: torch.func.functional_call(model, own[:2], own[2]))(*state, x)
    torch.testing.assert_close(together, torch.stack([one(images) for one, images in zip(models, x, strict=True)]))


@pytest.mark.skipif(not image_conv.HAS_ONEDNN, reason="needs PyTorch with oneDNN")
@pytest.mark.parametrize("name", ["dla34", "dla60x_c", "dla34up", "dla34ida"])
def test_so_are_all_maps_of_a_network_in_training(name):
    model, layouts = dla.create_model(name), []

    def note(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        layouts.append(output.is_contiguous(memory_format=torch.channels_last))

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note)
    model(torch.randn(2, 3, 64, 96))
    assert all(layouts)


@pytest.mark.usefixtures("unchecked_shapes")
@torch.no_grad()
def test_it_is_traced_by_fx_and_compiled_as_conv2d():
    conv, x = ImageConv2d(3, 16, 7, padding=3, bias=False), torch.randn(2, 3, 9, 11)
    assert torch.equal(torch.fx.symbolic_trace(conv)(x), conv(x))
    assert torch.equal(torch.compile(conv, backend="eager", fullgraph=True)(x), conv(x))


if __name__ == "__main__":
    torch.backends.cudnn.allow_tf32 = False
    if sys.argv[1] == "interpreted":
        torch.use_deterministic_algorithms(True)  # fills what is allocated with not-a-number
        found = {name: compare(case) for name, case in INTERPRETED.items()}
        print(json.dumps({**found, "operation": compare_operation()}))
    elif sys.argv[1] == "compiled":
        print(json.dumps(compile_for_an_h100()))
    else:
        print(json.dumps({name: compare_on_gpu(shape) for name, shape in ON_GPU.items()}))
