"""Layers for a GPU give what the folded network gives, take the place of what they know and leave the rest alone."""

import copy
import gc
import warnings
import weakref
from contextlib import nullcontext
from unittest import mock

import pytest
import timm
import torch
from disturbed import disturb, disturbed
from torch import nn
from torch._subclasses import FakeTensorMode

import dla
from dla.deploy import DeployError, cuda_graph, folded, for_gpu, optimize, torch_engines
from dla.deploy.gpu_layers import ConvReLU, FewChannels, GPUNode, GPUPool, GPUResidual
from dla.deploy.outputs import TOLERANCES, difference, flat
from dla.kernels.image_conv import ImageConv2d
from dla.models.blocks import Residual, basic

pytestmark = pytest.mark.usefixtures("unchecked_shapes")
NETWORKS = ["dla34", "dla60", "dla102", "dla46_c", "dla60x", "dla34up", "dla34ida", "dla34_centernet"]
ON_GPU = ["dla34", "dla34up", "dla60x", "dla102", "dla34_centernet"]
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def network(name: str, **options: object) -> nn.Module:
    if "centernet" in name:
        options["decoder"] = "plain"  # torchvision's deformable convolution has no bfloat16
    return disturbed(name, **options)


@torch.no_grad()
def changed_by(model: nn.Module, shape: tuple[int, ...] = (2, 3, 49, 35)) -> float:
    x = torch.randn(shape)
    return difference(flat(model(x)), flat(for_gpu(folded(model))(x)))


def count(model: nn.Module, *kinds: type) -> int:
    return sum(type(module) in kinds for module in model.modules())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_function_is_the_same(name):
    assert changed_by(network(name)) < 1e-5


@pytest.mark.parametrize(
    "options", [{"norm_layer": "groupnorm"}, {"output_stride": 8}, {"stem_stride": 1}, {"drop_path_rate": 0.5}], ids=str
)
def test_networks_of_other_options(options):
    assert changed_by(network("dla34", **options)) < 1e-5


def test_several_images():
    assert changed_by(network("dla34", in_chans=(3, 3, 1)), (2, 7, 49, 35)) < 1e-5


@pytest.mark.parametrize("structure", ["plain", "skip", "iterative", "tree", "reentrant", "merged"])
def test_other_structures(structure):
    assert changed_by(network("dla46_c", structure=structure)) < 1e-5


@pytest.mark.parametrize("name", ["resnet34", "dla34"])
def test_networks_of_timm(name):
    assert changed_by(disturb(timm.create_model(name)), (2, 3, 64, 96)) < 1e-5  # timm's DLA takes no odd sizes


@pytest.mark.parametrize("affine", [True, False])
def test_layers_of_ones_own(affine):
    norm = nn.BatchNorm2d(8, affine=affine)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), norm, nn.ReLU(), nn.MaxPool2d(2, 2), nn.Conv2d(8, 9, 1, 2), nn.ReLU6())
    assert changed_by(disturb(layers)) < 1e-5
    assert changed_by(disturb(nn.Sequential(nn.Conv2d(3, 8, 3, bias=True), nn.ReLU()))) < 1e-5


def test_a_layer_that_stands_there_twice():
    pool = nn.AvgPool2d(2)
    assert changed_by(nn.Sequential(pool, nn.Conv2d(3, 8, 3), pool, nn.ReLU())) < 1e-5


def test_dla34_has_no_other_layers_left():
    model = network("dla34")
    found = for_gpu(folded(model))
    assert count(found, dla.Node, Residual, nn.ReLU, nn.MaxPool2d, nn.BatchNorm2d) == 0
    assert count(found, GPUNode) == count(model, dla.Node)
    assert count(found, GPUResidual) == count(found, ConvReLU) == count(model, Residual)
    assert count(found, GPUPool) == count(model, nn.MaxPool2d)
    assert count(found, FewChannels) == 3


def test_what_has_other_norms_stays():
    found = for_gpu(folded(network("dla34", norm_layer="groupnorm")))
    assert count(found, GPUResidual, GPUNode, FewChannels, ConvReLU) == 0
    assert count(found, GPUPool) > 0


def test_the_model_given_is_not_changed():
    model = folded(network("dla34"))
    kinds, before = [type(module) for module in model.modules()], copy.deepcopy(model.state_dict())
    for_gpu(model)
    assert [type(module) for module in model.modules()] == kinds
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


@torch.no_grad()
def test_the_last_convolution_has_the_bias_of_the_projection():
    block = folded(disturb(basic(24, 40, 2)))
    last, project = block.body[-1][0], block.shortcut[1][0]
    found = for_gpu(block)
    assert isinstance(found, GPUResidual)
    assert torch.equal(found.last.bias, last.bias + project.bias)
    assert found.shortcut[1][0].bias is None
    assert torch.equal(found.last.weight, last.weight)
    x = torch.randn(2, 24, 9, 7)
    torch.testing.assert_close(found(x), block(x))


@torch.no_grad()
@pytest.mark.parametrize("options", [{"residual": True}, {"kernel_size": 3}, {"kernel_size": 3, "residual": True}, {}])
def test_nodes(options):
    node = disturb(dla.Node([4, 6, 8], 8, **options))
    inputs = [torch.randn(2, channels, 9, 7) for channels in (4, 6, 8)]
    found = for_gpu(folded(node))
    assert isinstance(found, GPUNode)
    torch.testing.assert_close(found(inputs), node(inputs))


@pytest.mark.parametrize("options", [{"norm": None}, {"activation": None}, {"activation": nn.SiLU}])
def test_nodes_without_norm_or_relu_stay(options):
    assert type(for_gpu(folded(dla.Node([4, 6], 8, **options)))) is dla.Node


@torch.no_grad()
@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(8, 8, 3, padding="same"),
        nn.Conv2d(8, 8, 3, bias=False),
        nn.ConvTranspose2d(8, 8, 2, 2),
    ],
    ids=repr,
)
def test_other_convolutions_stay(conv):
    layers, x = nn.Sequential(conv, nn.ReLU()), torch.randn(1, 8, 9, 7)
    found = for_gpu(layers)
    assert [type(layer) for layer in found] == [type(layer) for layer in layers]
    assert torch.equal(found(x), layers(x))


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2, 2), nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2, 1, ceil_mode=True)])
def test_other_pools_stay(pool):
    assert type(for_gpu(pool)) is nn.MaxPool2d


@pytest.mark.parametrize(
    ("taken", "conv"),
    [
        (True, nn.Conv2d(3, 16, 7, padding=3)),
        (True, ImageConv2d(3, 16, 7, padding=3)),
        (True, nn.Conv2d(16, 32, 3, 2, 1)),
        (True, nn.Conv2d(16, 64, 3, padding=1)),
        (True, nn.Conv2d(5, 12, 1)),
        (False, nn.Conv2d(17, 16, 3, padding=1)),
        (False, nn.Conv2d(16, 65, 3, padding=1)),
        (False, nn.Conv2d(3, 16, 9, padding=4)),
        (False, nn.Conv2d(3, 16, 4, padding=2)),
        (False, nn.Conv2d(3, 16, 3)),
        (False, nn.Conv2d(3, 16, (3, 1), padding=(1, 0))),
        (False, nn.Conv2d(3, 16, 3, (1, 2), 1)),
        (False, nn.Conv2d(3, 16, 4, 4)),
        (False, nn.Conv2d(3, 16, 3, 3, 1)),
        (False, nn.Conv2d(16, 16, 3, padding=1, groups=16)),
        (False, nn.Conv2d(16, 16, 3, padding=2, dilation=2)),
        (False, nn.Conv2d(16, 16, 3, padding=1, dilation=2)),
    ],
    ids=repr,
)
def test_which_convolutions_have_few_channels(taken, conv):
    assert FewChannels.takes(conv) == taken
    kind = FewChannels if taken else ConvReLU
    assert type(for_gpu(nn.Sequential(conv, nn.ReLU()))[0]) is kind


def test_a_graph_keeps_its_weights():
    """Otherwise their memory goes to whatever is made next, and the graph reads that."""
    model = nn.Conv2d(3, 3, 1)
    weight = weakref.ref(model.weight)
    with (
        mock.patch("torch.cuda.CUDAGraph"),
        mock.patch("torch.cuda.graph"),
        mock.patch("torch.cuda.Stream"),
        mock.patch("torch.cuda.device_of", nullcontext),
        mock.patch("torch.cuda.Event"),
        mock.patch("torch.cuda.current_stream") as stream,
        mock.patch.object(cuda_graph, "_warm_up"),
    ):
        run = cuda_graph.Captured(model, torch.randn(1, 3, 4, 4))
        del model
        gc.collect()
        assert weight() is not None
        assert run(torch.randn(1, 3, 4, 4))[0].shape == (1, 3, 4, 4)
    stream().wait_event.assert_called_once_with(run.done)  # of callers in other streams
    run.done.record.assert_called_once_with(stream())


def test_a_graph_is_captured_in_a_stream_of_its_gpu():
    """Where PyTorch chooses, that of the first graph serves all, in which work for another GPU is not captured."""
    order = mock.MagicMock()
    with (
        mock.patch("torch.cuda.CUDAGraph"),
        mock.patch("torch.cuda.graph", order.graph),
        mock.patch("torch.cuda.Stream", order.Stream),
        mock.patch("torch.cuda.device_of", order.device_of),
        mock.patch("torch.cuda.Event"),
        mock.patch.object(cuda_graph, "_warm_up"),
    ):
        cuda_graph.Captured(nn.ReLU(), torch.randn(1, 3, 4, 4))
    names = [name for name, _, _ in order.mock_calls]
    assert names.index("device_of().__enter__") < names.index("Stream") < names.index("device_of().__exit__")
    assert order.graph.call_args.kwargs["stream"] is order.Stream()


@pytest.mark.parametrize("run", [True, False])
def test_gpus_without_the_kernels_get_no_layers_of_theirs(run):
    with FakeTensorMode():
        example = torch.empty(1, 3, 8, 8, dtype=torch.half, device="cuda")
    with (
        mock.patch.object(torch_engines, "Captured") as captured,
        mock.patch.object(torch_engines, "kernels_run_on", return_value=run),
    ):
        torch_engines.eager(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), example, None)
    assert count(captured.call_args.args[0], ConvReLU) == run


def test_waiting_is_refused_within_the_block_alone():
    def set_mode(mode: int | str) -> None:
        modes.append(mode)
        if mode == "error":
            warnings.warn("a prototype", stacklevel=1)  # as PyTorch does

    modes: list[int | str] = []
    with (
        mock.patch("torch.cuda.get_sync_debug_mode", return_value=0),
        mock.patch("torch.cuda.set_sync_debug_mode", set_mode),
        pytest.raises(RuntimeError, match="waits"),
        cuda_graph._refusing_to_wait(),
    ):
        raise RuntimeError("waits")
    assert modes == ["error", 0]


@pytest.fixture
def precise(monkeypatch):
    """Convolutions in float32 of all its bits."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@torch.inference_mode()
def assert_same_on_gpu(model: nn.Module, dtype: torch.dtype, engine: str = "eager") -> None:
    """For images that the engine was not made with, too, and when its memory has been given to others."""
    first, second = torch.randn(2, 3, 3, 97, 65, device="cuda").to(dtype)
    second = 3 * second + 1
    tolerance = TOLERANCES.get(dtype, 1e-4)
    run = optimize(model, engine=engine, example=first)
    others = [torch.full((size,), torch.nan, device="cuda") for size in (1000, 10_000, 100_000, 1_000_000) * 100]
    results = [flat(run(images)) for images in (second, first)]
    for images, found in zip((second, first), results, strict=True):
        assert found[0].dtype == dtype
        assert difference(flat(model(images.float())), found) <= tolerance
    assert difference(*results) > 2 * tolerance  # or the same result would do for both
    del others


@needs_gpu
@pytest.mark.slow
@pytest.mark.usefixtures("precise")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("name", ON_GPU)
def test_networks_on_a_gpu(name, dtype):
    assert_same_on_gpu(network(name).cuda(), dtype)


@needs_gpu
@pytest.mark.slow
def test_the_engine_compile_on_a_gpu():
    assert_same_on_gpu(network("dla46_c").cuda(), torch.bfloat16, "compile")


@needs_gpu
@pytest.mark.slow
@pytest.mark.usefixtures("precise")
def test_deformable_convolutions_on_a_gpu():
    assert_same_on_gpu(disturbed("dla34_centernet").cuda(), torch.float32)


@needs_gpu
@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@torch.inference_mode()
def test_results_are_not_overwritten(dtype):
    images = torch.randn(2, 3, 3, 33, 47, device="cuda").to(dtype)
    run = optimize(network("dla46_c").cuda(), example=images[0], tolerance=1e-1)
    first = run(images[0])
    before = first.clone()
    second = run(images[1])
    assert torch.equal(first, before)
    assert not torch.equal(first, second)
    assert torch.equal(run(images[0]), before)


@needs_gpu
@pytest.mark.slow
@pytest.mark.parametrize("engine", ["eager", "compile"])
def test_answers_can_be_changed_in_place(engine):
    example = torch.randn(1, 3, 33, 47, device="cuda")
    assert optimize(network("dla46_c").cuda(), engine=engine, example=example)(example).sigmoid_().max() <= 1


@needs_gpu
@pytest.mark.slow
def test_callers_in_two_streams_wait_for_each_other():
    images, streams = torch.randn(2, 1, 3, 256, 256, device="cuda"), [torch.cuda.Stream(), torch.cuda.Stream()]
    run = optimize(network("dla34").cuda(), example=images[0])
    expected, found = [run(image) for image in images], []
    torch.cuda.synchronize()
    for turn in range(40):
        with torch.cuda.stream(streams[turn % 2]):
            found.append(run(images[turn % 2]))
    torch.cuda.synchronize()
    assert all(torch.equal(answer, expected[turn % 2]) for turn, answer in enumerate(found))


class Waiting(nn.Module):
    """Asks the GPU for a number."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / x.abs().sum().item()


@needs_gpu
@pytest.mark.slow
def test_what_waits_for_the_gpu_cannot_be_captured():
    example = torch.randn(1, 3, 8, 8, device="cuda")
    with pytest.raises(DeployError, match=r"cannot become a CUDA graph .* use the engine compile"):
        optimize(Waiting(), example=example)
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    other = torch.randn(1, 3, 8, 8, device="cuda")  # whose generator took part in the capture
    assert torch.equal(optimize(nn.ReLU(), example=example)(other), other.relu())


def test_a_convolution_that_runs_twice_is_not_one():
    conv = nn.Conv2d(3, 3, 5, padding=2)
    model, x = nn.Sequential(nn.Sequential(conv, conv), nn.ReLU()).eval(), torch.randn(1, 3, 16, 16)
    torch.testing.assert_close(for_gpu(folded(model))(x), model(x))
