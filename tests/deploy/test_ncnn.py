"""Files of ncnn: any batch, one size, with Winograd's transform only where maps are large."""

import pytest
import torch
from disturbed import disturb, disturbed
from torch import nn

import dla
from dla.deploy import DeployError, ncnn, optimize
from dla.deploy.ncnn_graph import spare_winograd
from dla.deploy.outputs import difference
from dla.export import export

pytestmark = pytest.mark.usefixtures("unchecked_shapes")
GRAPH = """7767517
8 9
Input      in0   0 1 in0
Convolution  a   1 1 in0 1 0=512 1=3 11=3 6=1048576
Split      s     1 2 1 2 3
Convolution  b   1 1 2 4 0=512 1=3 6=1048576
Convolution  c   1 1 3 5 0=512 1=1 6=1048576
Convolution  d   1 1 4 6 0=512 1=3 6=1048576 31=1
Convolution  e   1 1 6 7 0=512 1=3 6=1048575
ConvolutionDepthWise g 1 1 7 8 0=512 1=3 6=1048576 7=8
BinaryOp   f     2 1 8 5 out0 0=0
"""


@torch.no_grad()
def test_ncnn_takes_any_batch_of_one_size(tmp_path):
    model = disturb(dla.create_model("dla46_cida", num_classes=3))
    export(model, tmp_path / "model.ncnn.param", format="ncnn", shape=(1, 3, 33, 47))
    x = torch.randn(3, 3, 33, 47)
    assert difference([model(x)], ncnn.load(tmp_path / "model.ncnn.param", threads=1)(x)) < 1e-4
    with pytest.raises(DeployError, match="one image size, and crash at others: leave out --dynamic"):
        export(model, tmp_path / "other.ncnn.param", format="ncnn", shape=(1, 3, 33, 47), dynamic=True)
    assert {path.name for path in tmp_path.iterdir()} == {"model.ncnn.param", "model.ncnn.bin"}


@torch.no_grad()
def test_images_may_lie_as_they_like():
    model, x = disturbed("dla46_c", num_classes=3), torch.randn(1, 3, 49, 34)
    run = optimize(model, engine="ncnn", example=x.contiguous(memory_format=torch.channels_last))
    for _ in range(3):
        images = torch.randn(1, 49, 34, 3).permute(0, 3, 1, 2)
        assert difference([model(images)], [run(images)]) < 1e-4


@pytest.mark.parametrize("batch", [2, 5])
@torch.no_grad()
def test_images_of_a_batch_run_beside_each_other(batch):
    model, x = disturbed("dla46_c", num_classes=3), torch.randn(batch, 3, 49, 34)
    run = optimize(model, engine="ncnn", example=x, threads=3)
    for _ in range(3):
        images = torch.randn_like(x)
        assert difference([model(images)], [run(images)]) < 1e-4


class Late(nn.Module):
    """Gives first what is computed last, and more outputs than one digit counts."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        early = self.a(x)
        return {"late": self.b(early.relu()), "early": early, **{f"times {n}": early * n for n in range(2, 12)}}


@pytest.mark.parametrize("batch", [1, 2])
@torch.no_grad()
def test_outputs_come_in_the_networks_order(batch):
    model, x = Late().eval(), torch.randn(batch, 3, 9, 8)
    found, expected = optimize(model, engine="ncnn", example=x)(x), model(x)
    assert found.keys() == expected.keys()
    assert difference(list(expected.values()), list(found.values())) < 1e-4


def test_one_number_for_an_image_is_refused():
    class Mean(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).mean((1, 2, 3))

    with pytest.raises(DeployError, match="one number for each image, which ncnn cannot give: use another engine"):
        optimize(Mean(3, 4, 3), engine="ncnn", example=torch.randn(2, 3, 9, 8))


def test_outputs_of_another_first_axis_are_refused():
    class Channels(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).transpose(0, 1)

    with pytest.raises(DeployError, match="first axis is not that of the images: use another engine"):
        optimize(Channels(3, 4, 3), engine="ncnn", example=torch.randn(2, 3, 9, 8))


class Deciding(nn.Conv2d):
    """Its sign is that of the brightest number."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) if x.max() < 100 else -super().forward(x)


class Normalising(nn.Conv2d):
    """Divides by the brightest number."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) / float(x.max())


@pytest.mark.parametrize("kind", [Deciding, Normalising])
def test_a_network_that_reads_numbers_of_its_images_is_refused(kind):
    """Tracing would make constants of them, with which the example's answer is right and others are wrong."""
    with pytest.raises(DeployError, match=r"reads a number out of a tensor .* use another engine"):
        optimize(kind(3, 4, 3), engine="ncnn", example=torch.randn(1, 3, 9, 8))


def test_an_empty_output_is_refused():
    class Cut(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            return [super().forward(x), x[:, :0]]

    with pytest.raises(DeployError, match="an output is empty, which ncnn cannot give"):
        optimize(Cut(3, 4, 3), engine="ncnn", example=torch.randn(1, 3, 9, 8))


@pytest.mark.parametrize("size", [(1, 1), (16, 40), (1, 50)])
@torch.no_grad()
def test_images_of_any_size(size):
    """ncnn pools a map of one pixel to two."""
    model, x = disturbed("dla46_c", num_classes=3).eval(), torch.randn(2, 3, *size)
    assert difference([model(x)], [optimize(model, engine="ncnn", example=x)(x)]) < 1e-4


def test_random_numbers_go_on_as_if_nothing_were_made():
    model, x = dla.create_model("dla46_c", num_classes=3).eval(), torch.ones(1, 3, 40, 40)
    before = torch.get_rng_state()
    optimize(model, engine="ncnn", example=x)
    assert torch.equal(before, torch.get_rng_state())


def test_small_maps_of_many_weights_do_without_winograd():
    lines = spare_winograd(GRAPH, {"1": 65, "4": 64, "5": 1, "6": 1, "7": 1, "8": 1}.__getitem__).splitlines()
    expected = GRAPH.splitlines()
    expected[5] += " 31=64"
    assert lines == expected


def test_the_file_says_so(tmp_path):
    export(disturbed("dla34"), tmp_path / "m.ncnn.param", format="ncnn", shape=(1, 3, 128, 128))
    layers = [line.split() for line in (tmp_path / "m.ncnn.param").read_text().splitlines()[2:]]
    marked = [layer for layer in layers if "31=64" in layer]
    assert len(marked) == 4  # all convolutions of 3x3 in stage 6
    assert all("0=512" in layer and "1=3" in layer for layer in marked)
    assert any(layer[0] == "PixelShuffle" for layer in layers)  # of the stem, at half the resolution
