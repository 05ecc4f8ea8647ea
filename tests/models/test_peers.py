"""Networks of timm and torchvision by name, and their form for small images."""

import math

import pytest
import timm
import torch
from torch import nn
from torchvision import models

import dla
from dla.aggregation import IdentityNode
from dla.models.small_images import for_small_images

SMALL = [
    "timm/resnet34",
    "timm/resnext50_32x4d",
    "timm/densenet121",
    "timm/mobilenetv3_small_100",
    "torchvision/squeezenet1_1",
]


def build(name, **options):
    torch.manual_seed(0)
    return dla.create_model(name, num_classes=7, **options)


def strides(model, size):
    """By how much the map of each convolution is smaller than the image, to the next power of two.

    SqueezeNet's convolutions do not pad, so that its maps are a little smaller still.
    """
    seen: list[int] = []
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _, __, out: seen.append(2 ** round(math.log2(size / out.shape[-1]))))
    model.to("meta").eval()(torch.zeros(1, 3, size, size, device="meta"))
    return [stride for stride in seen if stride < size]  # not those of pooled features


def test_timm_by_name_is_timm():
    torch.manual_seed(0)
    theirs = timm.create_model("resnet18", num_classes=7).eval()
    x = torch.randn(2, 3, 70, 65)
    assert torch.equal(build("timm/resnet18").eval()(x), theirs(x))


def test_torchvision_by_name_is_torchvision():
    torch.manual_seed(0)
    theirs = models.squeezenet1_1(num_classes=7).eval()
    x = torch.randn(2, 3, 70, 65)
    assert torch.equal(build("torchvision/squeezenet1_1").eval()(x), theirs(x))


@pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large"])
def test_torchvisions_dense_predictors_give_their_logits(name):
    torch.manual_seed(0)
    theirs = models.get_model(name, weights_backbone=None, num_classes=7).eval()
    x = torch.randn(2, 3, 70, 65)
    assert torch.equal(build(f"torchvision/{name}").eval()(x), theirs(x)["out"])
    with torch.device("meta"):
        model = dla.create_model(f"torchvision/{name}")
    assert model(torch.zeros(2, 3, 70, 65, device="meta")).shape == (2, 19, 70, 65)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("stem_stride", [1, 2])
def test_small_images(name, stem_stride):
    """All strides become `stem_stride` quarters of the usual ones, but for those of the stem, which are 1 or 2."""
    usual = strides(build(name), 256)
    small = strides(build(name, stem_stride=stem_stride), 256)
    assert small[0] == stem_stride
    behind = [(a, b) for a, b in zip(usual, small, strict=True) if a >= 4]
    assert behind
    assert all(b == a * stem_stride / 4 for a, b in behind)


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_of_a_small_form_learns(name):
    model = build(name, stem_stride=1)
    model(torch.randn(3, 3, 33, 35)).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_parameters_are_those_of_the_usual_form_but_for_the_first_convolution():
    usual, small = build("timm/resnet50"), build("timm/resnet50", stem_stride=1)
    count = lambda model: sum(p.numel() for p in model.parameters())  # noqa: E731
    assert count(usual) - count(small) == 64 * 3 * (49 - 9)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "runs/own/best.ckpt",
            {},
            "'runs/own/best.ckpt' is the name of a file: name the network, and give the file as",
        ),
        ("keras/resnet34", {}, "unknown library in 'keras/resnet34': a name begins with timm/ or torchvision/"),
        ("timm/resnet35", {}, "unknown backbone 'resnet35'; near it timm has .*resnet34"),
        ("torchvision/resnet35", {}, "torchvision has no network 'resnet35' that classifies or segments"),
        ("torchvision/retinanet_resnet50_fpn", {}, "torchvision has no network 'retinanet_resnet50_fpn'"),
        ("torchvision/lraspp_mobilenet_v3_large", {"stem_stride": 2}, "how the stem of LRASPP is made"),
        ("torchvision/resnet18", {"pretrained": True}, "is made untrained"),
        ("torchvision/resnet18", {"in_chans": 1}, "is made untrained, of 3 channels and not rewired; take timm's"),
        ("torchvision/resnet18", {"rewire": "hda"}, "is made untrained, of 3 channels and not rewired; take timm's"),
        ("torchvision/alexnet", {"stem_stride": 1}, "how the stem of AlexNet is made for small images is not known"),
        ("torchvision/vgg11", {"stem_stride": 2}, "how the stem of VGG is made for small images is not known"),
        ("timm/vgg11", {"stem_stride": 1}, "how the stem of VGG is made for small images is not known"),
        ("timm/resnet18", {"rewire": "fpn"}, "structure must be 'hda', 'ida' or 'hda\\+ida', not 'fpn'"),
        ("timm/convnext_tiny", {"stem_stride": 1}, "how the stem of ConvNeXt is made for small images is not known"),
        ("timm/resnet26d", {"stem_stride": 1}, "how the stem of ResNet is made"),  # three convolutions
        ("timm/resnet18", {"drop_path_rate": 2.0}, r"a chance, at least 0 and below 1, not 2\.0"),
        ("timm/resnet18", {"stem_stride": 3}, "stem_stride must be 1, 2 or 4, not 3"),
        ("timm/resnet18.a1_in1k", {"pretrained": True, "stem_stride": 1}, "are of its usual stem"),
        ("timm/resnet18", {"features_only": True}, r"its maps are those of dla\.aggregate\('resnet18'\)\.backbone"),
    ],
)
def test_what_cannot_be_built(name, options, message):
    with pytest.raises(ValueError, match=message):
        dla.create_model(name, **options)


@torch.no_grad()
def test_blocks_are_rewired_after_the_stem_is_changed():
    torch.manual_seed(0)
    plain = build("timm/resnet18", stem_stride=1).eval()
    torch.manual_seed(0)
    model = build("timm/resnet18", stem_stride=1, rewire="hda+ida").eval()
    assert model.rewiring.structure == "hda+ida"
    assert sum(isinstance(module, IdentityNode) for module in model.modules()) == model.rewiring.nodes == 4
    x = torch.randn(1, 3, 32, 40)
    torch.testing.assert_close(model(x), plain(x), rtol=0, atol=0)


def test_an_unknown_option():
    with pytest.raises(TypeError, match="twigs"):
        dla.create_model("timm/resnet18", twigs=3)


def test_checkpointing_that_torchvision_lacks():
    model = build("torchvision/squeezenet1_1")
    model.set_grad_checkpointing(False)
    with pytest.raises(ValueError, match="no gradient checkpointing"):
        model.set_grad_checkpointing()


@pytest.mark.slow
def test_a_peer_trains_in_the_task_and_is_used_without_it(tmp_path):
    """By `dla fit`, and from its checkpoint by the predictor."""
    from PIL import Image

    from dla.cli import main
    from dla.predict import load_predictor

    run = tmp_path / "run"
    model = ["--model=ClassificationTask", "--model.network=timm/resnet18", "--model.options={stem_stride: 1}"]
    data = ["--data=DigitsData", "--data.size=16", "--data.batch_size=4"]
    trainer = ["max_epochs=1", "limit_train_batches=2", "limit_val_batches=1", "accelerator=cpu", "logger=false"]
    trainer += ["enable_progress_bar=false", f"default_root_dir={run}"]
    assert main(["fit", *model, *data, *(f"--trainer.{argument}" for argument in trainer)]) == 0
    predictor = load_predictor(run / "checkpoints" / "last.ckpt")
    assert predictor.model.conv1.kernel_size == (3, 3)
    assert predictor.classify(Image.new("RGB", (20, 20))).shape == (10,)


def test_the_small_form_is_made_in_place():
    model = timm.create_model("resnet18")
    assert for_small_images(model, 2) is model
    assert model.conv1.stride == (2, 2)
    assert isinstance(model.maxpool, nn.Identity)
