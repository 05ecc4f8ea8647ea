"""Deformable convolutions of maps sampled on a grid are torchvision's."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torchvision.ops import DeformConv2d

from dla.deploy import optimize
from dla.deploy.engines import INT8
from dla.deploy.sampled import SampledConv2d, places, sampled
from dla.export import export
from dla.models.deformable import DeformableConv

SIZE = (13, 10)


@pytest.mark.parametrize(
    ("maps", "options"),
    [
        (1, {"kernel_size": 3, "padding": 1}),
        (3, {"kernel_size": 3, "stride": 2, "padding": 1, "groups": 2}),
        (2, {"kernel_size": (3, 5), "stride": (2, 1), "padding": (0, 3), "dilation": (2, 1), "bias": False}),
        (1, {"kernel_size": 1}),
    ],
)
@pytest.mark.parametrize("weighted", [True, False])
@torch.no_grad()
def test_equals_torchvisions(maps, options, weighted):
    """With offsets of up to the size of the map, so that many samples lie outside it."""
    torch.manual_seed(0)
    conv = DeformConv2d(6, 8, **options).double()
    taps = conv.kernel_size[0] * conv.kernel_size[1]
    sides = nn.Conv2d(6, 1, **{**options, "groups": 1}).double()(torch.zeros(2, 6, *SIZE).double()).shape[2:]
    x, offset = torch.randn(2, 6, *SIZE).double(), 4 * torch.randn(2, 2 * maps * taps, *sides).double()
    mask = torch.rand(2, maps * taps, *sides).double() if weighted else None
    expected = conv(x, offset, mask)
    torch.testing.assert_close(SampledConv2d(conv)(x, offset, mask), expected, rtol=1e-12, atol=1e-12)


def test_a_model_without_any_is_not_copied():
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    assert sampled(model) is model


def test_the_model_stays_as_it_is_and_what_has_hooks_or_16_bits_is_left():
    model = DeformableConv(3, 4)
    assert type(sampled(model).conv) is SampledConv2d
    assert type(model.conv) is DeformConv2d
    assert type(sampled(DeformableConv(3, 4).half()).conv) is DeformConv2d
    model.conv.register_forward_hook(lambda module, inputs, output: 2 * output)
    assert type(sampled(model).conv) is DeformConv2d


class Twice(DeformableConv):
    """Runs its convolution a second time, under another name, and reads its size."""

    def __init__(self):
        super().__init__(4, 4)
        self.again = self.conv

    def forward(self, x):
        rows, columns = self.again.kernel_size
        return self.again(super().forward(x), x.new_ones(len(x), 2 * rows * columns, *x.shape[2:]) / 3)


@torch.no_grad()
def test_one_that_stands_under_two_names_and_is_asked_for_its_size():
    torch.manual_seed(0)
    model, x = Twice(), torch.randn(1, 4, *SIZE)
    found = sampled(model)
    assert type(found.conv) is SampledConv2d
    assert found.again is found.conv
    torch.testing.assert_close(found(x), model(x))


def test_places_are_what_computes_grids_and_nothing_before_its_convolutions():
    graph = {
        "map": ("Add", ["images", "bias"]),
        "offset": ("Conv", ["map", "weight"]),
        "size": ("Shape", ["map"]),
        "moved": ("Add", ["offset", "taps"]),
        "grid": ("Div", ["moved", "size"]),
        "values": ("GridSample", ["map", "grid"]),
        "sum": ("Add", ["values", "map"]),
    }
    assert places(graph) == {"moved", "grid"}


@pytest.mark.parametrize("engine", INT8)
def test_8_bits_are_not_those_of_the_places(engine, capfd):
    """On a map of 128 pixels they would be off by half a pixel, and answers by a sixth and more."""
    torch.manual_seed(0)
    layer = DeformableConv(3, 4).eval()
    for value in layer.offsets.parameters():
        nn.init.normal_(value, std=0.3)
    images = [nn.functional.interpolate(torch.randn(1, 3, 64, 64), size=128, mode="bilinear") for _ in range(4)]
    run = optimize(layer, engine=engine, example=images[0], precision="int8", calibration=images)
    with torch.no_grad():
        expected = layer(images[1])
    found = run(images[1])
    assert 1e-3 < (found - expected).norm() / expected.norm() < 0.08
    assert "ignored" not in capfd.readouterr().out


@pytest.mark.usefixtures("unchecked_shapes")
def test_a_program_of_torch_export_needs_no_torchvision(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "a.pt2"
    export(DeformableConv(3, 4).eval(), path, format="torch-export", shape=(1, 3, 33, 47))
    script = "import sys, torch; p = torch.export.load(sys.argv[1]).module(); p(torch.zeros(1, 3, 33, 47)); "
    script += "assert 'torchvision' not in sys.modules"
    subprocess.run([sys.executable, "-c", script, path], check=True)
