"""Deformable convolutions in other runtimes: which are replaced, what 8 bits leave alone, what files need."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torchvision.ops import DeformConv2d

from dla.deploy import optimize
from dla.deploy.engines import INT8
from dla.deploy.sampled import places, sampled
from dla.export import export
from dla.models.deformable import DeformableConv, SampledConv2d


def test_a_model_without_any_is_not_copied():
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    assert sampled(model) is model


class Own(nn.Module):
    """Runs torchvision's convolution twice, under two names, and reads its size."""

    def __init__(self, **options):
        super().__init__()
        self.conv = self.again = DeformConv2d(4, 4, (3, 5), padding=(1, 2), groups=2, **options)

    def forward(self, x):
        rows, columns = self.again.kernel_size
        offset = torch.linspace(-3, 3, 2 * rows * columns)[:, None, None].expand(len(x), -1, *x.shape[2:])
        return self.again(self.conv(x, offset), offset)


@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_torchvisions_are_replaced_in_a_copy(bias):
    torch.manual_seed(0)
    model, x = Own(bias=bias), torch.randn(2, 4, 13, 10)
    found = sampled(model)
    assert type(found.conv) is SampledConv2d
    assert found.again is found.conv
    assert type(model.conv) is DeformConv2d
    torch.testing.assert_close(found(x), model(x))


def test_one_with_hooks_is_left():
    model = Own()
    model.conv.register_forward_hook(lambda module, inputs, output: 2 * output)
    assert sampled(model) is model


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
