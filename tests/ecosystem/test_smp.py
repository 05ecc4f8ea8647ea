"""Our networks, once in timm's registry, are encoders of segmentation_models.pytorch."""

import pytest
import segmentation_models_pytorch as smp
import torch

import dla
import dla.timm  # the registration

ENCODER = "tu-dla46_c_agg"


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        (smp.Unet, {}),
        (smp.FPN, {}),
        (smp.DeepLabV3Plus, {"encoder_output_stride": 16}),
        (smp.DeepLabV3Plus, {"encoder_output_stride": 8}),
        (smp.Unet, {"encoder_depth": 3, "decoder_channels": (32, 16, 8)}),
    ],
)
def test_networks_train_on_our_encoder(architecture, options):
    model = architecture(ENCODER, encoder_weights=None, classes=3, **options)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    out = model(torch.randn(2, 3, 64, 96))
    assert out.shape == (2, 3, 64, 96)
    out.square().mean().backward()
    optimizer.step()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    assert any(not torch.equal(p, before[name]) for name, p in model.encoder.named_parameters(prefix="encoder"))
    assert torch.isfinite(model.eval()(torch.randn(1, 3, 64, 64))).all()


@pytest.mark.parametrize("stride", [8, 16, 32])
@torch.no_grad()
def test_the_encoder_gives_our_maps(stride):
    encoder = smp.encoders.get_encoder(ENCODER, in_channels=2, weights=None, output_stride=stride).eval()
    network = dla.create_model("dla46_c", features_only=True, in_chans=2, output_stride=stride).eval()
    network.load_state_dict({f"body.{k.removeprefix('model.model.')}": v for k, v in encoder.state_dict().items()})
    x = torch.randn(1, 2, 70, 65)  # the encoder itself takes any size
    first, *maps = encoder(x)
    assert first is x
    for a, b in zip(maps, network(x), strict=True):
        torch.testing.assert_close(a, b)
    assert encoder.out_channels == [2, 32, 64, 64, 128, 256]
    assert encoder.output_stride == stride
