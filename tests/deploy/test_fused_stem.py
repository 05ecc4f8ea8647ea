"""A network with the fused stem is the network it was, and the operation is there where it can run."""

import copy
import subprocess
import sys

import pytest
import torch
from disturbed import disturb
from torch import nn
from torch._subclasses import FakeTensorMode

import dla
from dla.deploy import DeployError, folded
from dla.deploy.fused_stem import FusedStem, with_fused_stem
from dla.deploy.outputs import difference


def convolutions(first=16, **options):
    return (
        nn.Conv2d(3, 16, 7, padding=3, **options),
        nn.Conv2d(16, first, 3, padding=1, **options),
        nn.Conv2d(first, 32, 3, 2, padding=1, **options),
    )


def network(name="dla34", **options):
    return disturb(dla.create_model(name, width=0.5, num_classes=7, **options))


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
        assert difference([expected], [found]) < 1e-5
    assert [type(m) for m in fused.modules()].count(FusedStem) == 1
    assert all(torch.equal(value, before[key]) for key, value in plain.state_dict().items())


def test_all_maps_but_the_first_are_there():
    plain = network()
    fused, x = with_fused_stem(folded(plain)), torch.randn(1, 3, 37, 45)
    with torch.no_grad():
        found, expected = (m.forward_intermediates(x, [1, -1], intermediates_only=True) for m in (fused, plain))
    assert difference(expected, found) < 1e-5
    for indices in (None, [0, 3], 6):
        with pytest.raises(DeployError, match="no map of the first stage"):
            fused.forward_intermediates(x, indices)


def test_features_without_the_first_map():
    plain = network(features_only=True)
    fused, x = with_fused_stem(folded(plain)), torch.randn(1, 3, 37, 45)
    with torch.no_grad():
        assert difference(plain(x), fused(x)) < 1e-5
    with pytest.raises(DeployError, match="no map of the first stage"):
        with_fused_stem(folded(network(features_only=True, out_indices=(0, 3))))(x)


@pytest.mark.parametrize("stem_stride", [1, 2, 4])
def test_every_stem_stride(stem_stride):
    plain, x = network(stem_stride=stem_stride), torch.randn(1, 3, 21, 17)
    with torch.no_grad():
        assert difference([plain(x)], [with_fused_stem(folded(plain))(x)]) < 1e-5


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


def test_images_of_other_channels_are_refused():
    options = {"device": "cuda", "dtype": torch.float16}
    with FakeTensorMode(), torch.inference_mode(), pytest.raises(ValueError, match="of 3 channels, not 5"):
        FusedStem(*convolutions(**options))(torch.empty(1, 5, 8, 8, **options))


def test_other_convolutions_are_refused():
    stem, first, second = convolutions(first=128)
    with pytest.raises(DeployError, match="at most 64 between, not 128"):
        FusedStem(stem, first, second)
    with pytest.raises(DeployError, match=r"padding=\(1, 1\).*, not Conv2d.*dilation"):
        FusedStem(stem, nn.Conv2d(16, 16, 3, padding=2, dilation=2), second)


def test_triton_is_loaded_by_the_kernel_alone():
    code = "import sys, dla.deploy, dla.deploy.fused_stem; print('triton' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "False"
