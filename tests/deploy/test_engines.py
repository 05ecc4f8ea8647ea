"""Every engine that is installed gives what the network gives, in its form."""

import copy
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import timm
import torch
from disturbed import disturb, disturbed
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torchvision import tv_tensors
from torchvision.ops import deform_conv2d
from unexpected import Branched, InPlace

import dla
from dla.deploy import DeployError, optimize
from dla.deploy.outputs import difference, flat
from dla.models.deformable import DeformableConv

pytestmark = pytest.mark.usefixtures("unchecked_shapes")
RUNTIMES = ["eager", "onnxruntime", "openvino", "ncnn"]


@torch.no_grad()
def assert_same(model: nn.Module, shape: tuple[int, ...], engine: str, **options: object) -> None:
    example, other = torch.randn(shape), torch.randn(shape)
    run = optimize(model, engine=engine, example=example, **options)
    expected, found = model(other), run(other)
    assert type(found) is type(expected)
    assert difference(flat(expected), flat(found)) < 1e-4


@pytest.mark.parametrize("engine", RUNTIMES)
def test_a_classifier(engine):
    assert_same(disturbed("dla46_c", num_classes=5), (2, 3, 65, 47), engine, threads=1)


@pytest.mark.parametrize("engine", RUNTIMES)
def test_a_dense_predictor_at_an_odd_size(engine):
    assert_same(disturbed("dla46_cup", num_classes=3), (1, 3, 33, 47), engine)


@pytest.mark.parametrize("engine", RUNTIMES)
def test_several_images(engine):
    assert_same(disturbed("dla46_c", num_classes=5, in_chans=(3, 3, 1)), (1, 7, 65, 47), engine)


@pytest.mark.slow
@pytest.mark.parametrize("engine", RUNTIMES)
def test_another_backbone(engine):
    assert_same(disturbed("resnet18+ida", num_classes=3), (2, 3, 70, 97), engine)


@pytest.mark.slow
@pytest.mark.parametrize("engine", RUNTIMES)
def test_a_dictionary(engine):
    assert_same(disturbed("dla34_centernet", decoder="plain"), (1, 3, 33, 47), engine)


@pytest.mark.slow
@pytest.mark.parametrize("engine", RUNTIMES)
def test_deformable_convolutions(engine):
    model = disturbed("dla46_c_centernet", heads={"hm": 2, "wh": 2}, head_channels=8)
    for name, value in model.named_parameters():
        if "offsets" in name:  # of up to some pixels; where they are larger, rounding is amplified
            value.data.mul_(0.1)
    assert_same(model, (1, 3, 97, 130), engine)


@pytest.mark.parametrize("engine", RUNTIMES)
def test_a_deformable_convolution(engine):
    layer = DeformableConv(3, 4).eval()
    for value in layer.offsets.parameters():
        torch.nn.init.normal_(value, std=0.3)
    assert_same(layer, (2, 3, 33, 47), engine)


def test_a_list_of_maps():
    assert_same(disturbed("dla46_c", features_only=True), (1, 3, 33, 47), "onnxruntime")


def test_what_is_no_module():
    with pytest.raises(TypeError, match="model is a str; expected a module"):
        optimize("dla34", example=torch.randn(1, 3, 4, 4))


class Flattening(nn.Module):
    """Flattens its maps by `view`, as LeNet does, which fails where channels are last in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 6, 5), nn.Linear(6 * 8 * 8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = nn.functional.max_pool2d(self.conv(x).relu(), 2)
        return self.head(maps.view(maps.size(0), -1))


@torch.no_grad()
def test_a_network_that_flattens_by_view():
    model, x = Flattening().eval(), torch.randn(2, 3, 20, 20)
    other = torch.randn(2, 3, 20, 20).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(optimize(model, example=x)(other), model(other.contiguous()))


class Halving(nn.Conv2d):
    """Gives its result in 16 bits."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).half()


def test_outputs_in_16_bits_may_differ_by_their_rounding():
    torch.manual_seed(0)
    for _ in range(5):
        assert optimize(Halving(3, 4, 3), engine="onnxruntime", example=torch.randn(1, 3, 9, 9)).dtype == torch.float32


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_an_output_with_the_inputs_name_is_refused(engine):
    class Named(nn.Module):
        def forward(self, images):
            return {"images": images + 1, "mean": images.mean(1)}

    with pytest.raises(DeployError, match=r"^an output is named images, as the input is: rename it$"):
        optimize(Named(), engine=engine, example=torch.randn(1, 3, 33, 33))


class NamedAsOperations(nn.Conv2d):
    """Gives outputs by the names of what computes them."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        maps = super().forward(x)
        return {"relu": maps.relu().mean(1), "conv2d": maps}


def test_an_output_may_have_the_name_of_an_operation():
    assert_same(NamedAsOperations(3, 5, 3), (1, 3, 33, 47), "onnxruntime")


def test_a_file_has_the_names_of_the_outputs(tmp_path):
    example = torch.randn(1, 3, 5, 5)
    dla.deploy.onnx.write(NamedAsOperations(3, 5, 3).eval(), example, tmp_path / "a.onnx", dynamic=False, metadata={})
    graph = onnx.load(tmp_path / "a.onnx").graph
    assert [value.name for value in (*graph.input, *graph.output)] == ["images", "relu", "conv2d"]


def test_an_output_may_have_the_name_of_a_weight():
    class Scaled(nn.Conv2d):
        def forward(self, x):
            return {"weight": super().forward(x), "bias": x.mean(1)}

    assert_same(Scaled(3, 5, 3), (1, 3, 33, 47), "onnxruntime")


@pytest.mark.parametrize("engine", RUNTIMES)
@pytest.mark.parametrize("wrap", [AveragedModel, torch.compile, nn.DataParallel])
def test_a_network_in_a_wrapper(wrap, engine):
    assert_same(wrap(nn.Conv2d(3, 5, 3)).eval(), (1, 3, 33, 47), engine)


class Taps(nn.Module):
    """Goes through its layers by itself and gives the maps within."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())

    def forward(self, x):
        maps = []
        for layer in self.body:
            x = layer(x)
            maps.append(x.clone())
        return maps


@pytest.mark.parametrize("engine", RUNTIMES)
def test_maps_from_within_a_sequential(engine):
    assert_same(disturb(Taps()).eval(), (1, 3, 17, 19), engine)


@pytest.mark.parametrize("engine", RUNTIMES)
def test_a_convolution_that_runs_twice(engine):
    conv = nn.Conv2d(3, 3, 5, padding=2)
    assert_same(nn.Sequential(nn.Sequential(conv, conv), nn.ReLU()).eval(), (1, 3, 16, 16), engine)


def test_ncnn_pools_at_an_output_stride_of_16():
    model = dla.create_model("dla46_c", num_classes=3, output_stride=16)
    assert_same(disturb(model).eval(), (1, 3, 64, 64), "ncnn")


def test_openvino_says_which_images_are_too_small():
    model = dla.create_model("dla46_cup", num_classes=3).eval()
    with pytest.raises(DeployError, match=r"use ONNX, or images of at least 32 pixels on each side$"):
        optimize(model, engine="openvino", example=torch.rand(1, 3, 16, 16))


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        (
            "openvino",
            r"^OpenVINO cannot take .* \(-- No conversion rule found for operations: DeformConv-\d+\): use ONNX, "
            r"or torchvision's module DeformConv2d itself and without hooks, of which others are made$",
        ),
        ("onnxruntime", r"^the network cannot be exported to ONNX: <class 'torch\S+'>: "),
    ],
)
def test_what_a_runtime_cannot_take_is_told_in_one_line(engine, said):
    class Odd(nn.Conv2d):
        def forward(self, x):
            if engine == "openvino":
                return deform_conv2d(x, super().forward(x), self.weight[:4], padding=1)
            return x * x.mean().item() if x.mean() > 0 else x

    with pytest.raises(DeployError, match=said) as caught:
        optimize(Odd(3, 18, 3, padding=1), engine=engine, example=torch.rand(1, 3, 33, 33))
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("fold", [True, False])
def test_a_network_of_timm(fold):
    assert_same(disturb(timm.create_model("dla46_c")), (1, 3, 64, 64), "openvino", fold=fold)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compile():
    assert_same(disturbed("dla46_c", num_classes=5), (2, 3, 33, 47), "compile", threads=1)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_it_compiles_once_with_constant_weights():
    counters, model, example = torch._dynamo.utils.counters, nn.Conv2d(3, 8, 3).eval(), torch.randn(1, 3, 16, 16)
    torch._dynamo.reset()
    counters.clear()
    run = optimize(model, engine="compile", example=example)
    if torch.backends.mkldnn.is_available():
        assert counters["inductor"]["mkldnn_conv_weight_pack_matcher_count"] == 1  # done for constants alone
    with torch.inference_mode():
        found = [run(example), run(example.clone())]
    found += [run(example.clone().requires_grad_()), run(tv_tensors.Image(example))]
    assert counters["stats"]["unique_graphs"] == 1
    with torch.no_grad():
        assert difference([model(example)] * 4, found) < 1e-4


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_the_ninth_network_of_a_class_is_compiled_too():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    for channels in range(1, 10):
        optimize(nn.Sequential(nn.Conv2d(3, channels, 1)).eval(), engine="compile", example=torch.randn(1, 3, 5, 5))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 9


def test_what_cannot_be_compiled_is_told_in_one_line():
    missing = {"cpp.cxx": ("no-such-compiler",), "force_disable_caches": True}
    said = r"compile cannot take the network \(.*compiler.*\): use another engine"
    with torch._inductor.config.patch(missing), pytest.raises(DeployError, match=said):
        optimize(nn.Sigmoid(), engine="compile", example=torch.randn(1, 3, 9, 9))


def test_the_network_stays_as_it_was():
    model = disturbed("dla46_c").train()
    before, threads = copy.deepcopy(model.state_dict()), torch.get_num_threads()
    optimize(model, example=torch.randn(1, 3, 33, 33), threads=threads + 1)(torch.randn(1, 3, 33, 33))
    assert model.training
    assert torch.get_num_threads() == threads
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@torch.no_grad()
def test_int8_is_near_and_is_not_float32(engine):
    torch.manual_seed(0)
    model = dla.create_model("dla46_c", num_classes=5).eval()
    images = [torch.randn(1, 3, 33, 47) for _ in range(4)]
    once = (image for image in images)  # as from a loader; OpenVINO goes through them twice
    run = optimize(model, engine=engine, example=images[0], precision="int8", calibration=once)
    worst = difference([torch.cat([model(x) for x in images])], [torch.cat([run(x) for x in images])])
    assert 1e-4 < worst < 0.3


def test_openvino_has_the_threads_asked_for(monkeypatch):
    """One alone, since of more it takes no more than there are cores."""
    compiled, compile_model = [], openvino.Core.compile_model

    def noted(*arguments):
        compiled.append(compile_model(*arguments))
        return compiled[-1]

    monkeypatch.setattr(openvino.Core, "compile_model", noted)
    optimize(nn.Conv2d(3, 3, 1), engine="openvino", example=torch.randn(1, 3, 4, 4), threads=1)
    assert [model.get_property("INFERENCE_NUM_THREADS") for model in compiled] == [1]


@pytest.mark.parametrize("threads", [1, 3])
def test_onnxruntime_has_the_threads_asked_for(threads, monkeypatch):
    sessions = []

    class Noted(onnxruntime.InferenceSession):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            sessions.append(self)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Noted)
    optimize(nn.Conv2d(3, 3, 1), engine="onnxruntime", example=torch.randn(1, 3, 4, 4), threads=threads)
    assert [session.get_session_options().intra_op_num_threads for session in sessions] == [threads]


def test_onnxruntimes_weights_have_7_bits_and_a_scale_for_each_channel(tmp_path):
    """Of 8 bits the sums overflow on processors without VNNI, which the one that runs this test may have."""
    example = torch.randn(1, 3, 4, 4)
    dla.deploy.onnx.write(nn.Conv2d(3, 5, 1).eval(), example, tmp_path / "a.onnx", dynamic=False, metadata={})
    dla.deploy.onnx.quantize(tmp_path / "a.onnx", [example], tmp_path / "b.onnx")
    tensors = [onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(tmp_path / "b.onnx").graph.initializer]
    (weight,) = (tensor for tensor in tensors if tensor.dtype == np.int8 and tensor.ndim == 4)
    assert [abs(channel.astype(int)).max() for channel in weight] == [64] * 5


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_network_that_folding_would_change_is_not_folded(precision):
    torch.manual_seed(0)
    model = disturb(Branched())
    x = torch.randn(1, 3, 33, 47)
    calibration = [x] if precision == "int8" else None
    run = optimize(model, engine="onnxruntime", example=x, precision=precision, calibration=calibration)
    assert difference([model(x).detach()], [run(x)]) < (1e-5 if precision == "float32" else 0.05)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 5e-2), (torch.float16, 1e-2)])
@torch.no_grad()
def test_images_in_16_bits_make_the_network_so(dtype, tolerance):
    """And they are compared with the network as it is, in float32."""
    model, images = disturbed("dla46_c", num_classes=5), torch.randn(2, 3, 65, 47)
    run = optimize(model, example=images.to(dtype))
    expected, found = model(images), run(images.to(dtype))
    assert found.dtype == dtype
    assert 1e-4 < difference([expected], [found]) < tolerance
    assert next(model.parameters()).dtype == torch.float32


def test_a_network_in_16_bits_becomes_what_its_images_are():
    model, images = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)).bfloat16().eval(), torch.randn(1, 3, 65, 47)
    for engine in ("eager", "onnxruntime"):
        assert optimize(model, engine=engine, example=images)(images).dtype == torch.float32


class Bytes(nn.Module):
    """Makes numbers from 0 to 1 of bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x.float() / 255)


@torch.no_grad()
def test_images_of_whole_numbers():
    model, images = Bytes().eval(), torch.randint(256, (1, 3, 9, 7), dtype=torch.uint8)
    torch.testing.assert_close(optimize(model, example=images)(images), model(images))


def test_networks_in_16_bits():
    """Trained weights, whose outputs folding changes by more than it does random ones'."""
    model = dla.create_model("dla46_cup.camvid", pretrained=True).bfloat16().eval()
    images = torch.randn(1, 3, 64, 96).bfloat16()
    assert optimize(model, example=images)(images).isfinite().all()


def test_another_shape_is_refused():
    run = optimize(disturbed("dla46_c"), example=torch.randn(1, 3, 33, 33))
    with pytest.raises(ValueError, match=r"made for images of \(1, 3, 33, 33\), not \(2, 3, 33, 33\)"):
        run(torch.randn(2, 3, 33, 33))


@pytest.mark.parametrize("engine", RUNTIMES)
def test_another_type_is_refused(engine):
    """Some engines would read other numbers than were given, or memory that is not theirs."""
    run = optimize(nn.Conv2d(3, 3, 1), engine=engine, example=torch.randn(1, 3, 4, 4))
    for dtype in (torch.float64, torch.float16, torch.uint8):
        message = rf"made for images in torch.float32, not {dtype}: convert them by .to\(torch.float32\)"
        with pytest.raises(ValueError, match=message):
            run(torch.ones(1, 3, 4, 4).to(dtype))


@pytest.mark.parametrize("engine", RUNTIMES)
def test_images_with_gradients_or_turned_in_sign(engine):
    model, images = nn.Conv2d(3, 3, 1), torch.randn(1, 3, 4, 4)
    run = optimize(model, engine=engine, example=images.clone().requires_grad_())
    expected = model(images).detach()
    torch.testing.assert_close(run(images.clone().requires_grad_()), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(run(torch._neg_view(-images)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("engine", RUNTIMES)
@torch.no_grad()
def test_a_network_that_changes_its_images_leaves_the_example(engine):
    model, example = InPlace(), torch.randn(1, 3, 9, 8)
    before = example.clone()
    run = optimize(model, engine=engine, example=example)
    assert torch.equal(example, before)
    assert difference([model(example.clone())], [run(example.clone())]) < 1e-4


@pytest.mark.parametrize("engine", RUNTIMES)
def test_answers_can_be_changed_and_trained_on(engine):
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    example = torch.randn(1, 3, 32, 32)
    run = optimize(model, engine=engine, example=example, threads=1)
    last = nn.Linear(5, 2)
    last(run(example).sigmoid_()).sum().backward()
    assert last.weight.grad.any()


@pytest.mark.parametrize("images", [[torch.zeros(1, 3, 4, 4)], np.zeros((1, 3, 4, 4), np.float32)])
def test_what_is_no_tensor_is_refused(images):
    run = optimize(nn.Conv2d(3, 4, 3), example=torch.randn(1, 3, 4, 4))
    with pytest.raises(ValueError, match=r"made for images in a tensor, not in a (list|ndarray)"):
        run(images)


def test_several_callers_leave_torchs_threads_as_they_were():
    class Slow(nn.Module):
        def forward(self, images):
            time.sleep(0.1)
            return images + 1

    before, example = torch.get_num_threads(), torch.randn(1, 3, 4, 4)
    run = optimize(Slow(), example=example, threads=before + 1)
    with ThreadPoolExecutor(3) as callers:
        list(callers.map(run, [example] * 3))
    with ThreadPoolExecutor(1) as another:
        assert another.submit(torch.get_num_threads).result() == before


@pytest.mark.parametrize("engine", RUNTIMES)
def test_several_threads_may_call(engine):
    model, batches = nn.Conv2d(3, 64, 7), torch.randn(40, 1, 3, 64, 64)
    run = optimize(model, engine=engine, example=batches[0])
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(run, batches))
    with torch.no_grad():
        assert difference([model(images) for images in batches], found) < 1e-4


@pytest.mark.parametrize(
    ("example", "found"),
    [
        ([torch.randn(1, 3, 4, 4)], "list"),
        (np.zeros((1, 3, 4, 4)), "ndarray"),
        (torch.randn(3, 4, 4), r"\(3, 4, 4\)"),
        (torch.randn(0, 3, 4, 4), r"\(0, 3, 4, 4\)"),
    ],
)
@pytest.mark.parametrize("engine", ["eager", "ncnn"])
def test_what_is_no_example(engine, example, found):
    with pytest.raises(ValueError, match=rf"a tensor of images \(batch, channels, height, width\), not {found}"):
        optimize(nn.Conv2d(3, 3, 1), engine=engine, example=example)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"engine": "tflite"}, ValueError, "engine must be one of eager, compile, onnxruntime"),
        ({"precision": "bf16"}, ValueError, "precision must be 'float32' or 'int8'"),
        ({"precision": "int8"}, DeployError, "eager has no int8 here: choose one of onnxruntime, openvino"),
        ({"precision": "int8", "engine": "openvino"}, ValueError, "int8 needs calibration"),
        ({"calibration": []}, ValueError, "float32 takes none"),
        ({"threads": -1}, ValueError, "threads must be a whole number of at least 1, or None, not -1"),
        ({"threads": 1.5}, ValueError, "threads must be a whole number of at least 1, or None, not 1.5"),
        ({"tolerance": -0.1}, ValueError, "tolerance must be at least 0, not -0.1"),
    ],
)
def test_wrong_arguments(options, error, message):
    with pytest.raises(error, match=message):
        optimize(nn.Conv2d(3, 3, 1), example=torch.randn(1, 3, 4, 4), **options)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        ([], "calibration has no batch: give some hundred images"),
        ([torch.randn(1, 3, 4, 4), torch.randn(1, 3, 5, 4)], r"batch 2 is \(1, 3, 5, 4\); expected \(1, 3, 4, 4\)"),
        ([torch.randn(1, 3, 4, 4).double()], "batch 1 is torch.float64; expected a tensor of normalised images in"),
        ([np.zeros((1, 3, 4, 4))], "batch 1 is ndarray; expected a tensor"),
        ([torch.full((1, 3, 4, 4), torch.nan)], "batch 1 holds NaN or infinity"),
    ],
)
def test_wrong_calibration(engine, calibration, message):
    example = torch.randn(1, 3, 4, 4)
    with pytest.raises(ValueError, match=message):
        optimize(nn.Conv2d(3, 3, 1), engine=engine, example=example, precision="int8", calibration=calibration)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "ncnn"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_files_are_in_float32(engine, dtype):
    with pytest.raises(ValueError, match=rf"{engine} takes images in float32, not {dtype}: give model.float"):
        optimize(nn.Conv2d(3, 3, 1), engine=engine, example=torch.randn(1, 3, 4, 4).to(dtype))


class OfWholeNumbers(nn.Module):
    """Pools numbers of a kind that ONNX Runtime does not pool."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.max_pool2d(x.int(), 2)


def test_what_a_runtime_raises_is_explained():
    with pytest.raises(DeployError, match=r"onnxruntime cannot take the network \(.*MaxPool.*: use another engine"):
        optimize(OfWholeNumbers(), engine="onnxruntime", example=torch.randn(1, 3, 4, 4))


def test_tensorrt_says_what_it_needs():
    import onnxruntime

    if "TensorrtExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("TensorRT is installed")
    with pytest.raises(DeployError, match="install onnxruntime-gpu in place of onnxruntime, and TensorRT"):
        optimize(nn.Conv2d(3, 3, 1), engine="tensorrt", example=torch.randn(1, 3, 4, 4))


class Amplifier(nn.Module):
    """Gives another answer each time."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.rand_like(x)


def test_an_engine_that_differs_is_refused_unless_allowed():
    with pytest.raises(DeployError, match="eager differs from the network by"):
        optimize(Amplifier(), example=torch.randn(1, 3, 8, 8))
    optimize(Amplifier(), example=torch.randn(1, 3, 8, 8), tolerance=1.0)
