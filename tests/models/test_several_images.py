"""Networks of several images, each with a stem of its own, whose maps are added."""

import pytest
import timm
import torch
from disturbed import randomise

import dla
from dla.hub import HubModel

IMAGES = (3, 3, 1)


@pytest.mark.parametrize("name", ["dla46_c", "dla46_cup", "dla46_cida", "dla46_c+fpn"])
@torch.no_grad()
def test_the_first_map_is_the_sum_of_those_of_all_images(name):
    model = randomise(dla.create_model(name, num_classes=3, in_chans=IMAGES)).eval()
    trunk = getattr(model, "backbone", model)
    trunk = getattr(trunk, "body", trunk)
    assert trunk.in_chans == 7
    first = []
    trunk.stages[0].register_forward_pre_hook(lambda _, inputs: first.append(inputs[0]))
    x = torch.randn(2, 7, 33, 47)
    assert model(x).shape[1] == 3
    stems = trunk.stem, *trunk.beside
    parts = x[:, :3], x[:, 3:6], x[:, 6:]
    expected = sum(stem(part) for stem, part in zip(stems, parts, strict=True))
    torch.testing.assert_close(first[0], expected)


@pytest.mark.usefixtures("unchecked_shapes")
@torch.no_grad()
def test_it_is_traced():
    model, x = dla.create_model("dla46_c", num_classes=2, in_chans=IMAGES).eval(), torch.randn(1, 7, 64, 64)
    assert torch.equal(torch.fx.symbolic_trace(model)(x), model(x))


def test_one_image_in_a_list_is_one_image():
    torch.manual_seed(0)
    alone = dla.create_model("dla46_c", in_chans=4).state_dict()
    torch.manual_seed(0)
    listed = dla.create_model("dla46_c", in_chans=[4]).state_dict()
    assert alone.keys() == listed.keys()
    assert all(torch.equal(alone[key], listed[key]) for key in alone)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_recomputing_gives_the_same_gradients_and_statistics(checkpointing):
    x = torch.randn(2, 7, 64, 65, dtype=torch.float64)
    found = []
    for memory_efficient in (False, True):
        torch.manual_seed(0)
        options = {"in_chans": IMAGES, "decoder": "plain", "heads": {"hm": 2}, "memory_efficient": memory_efficient}
        model = dla.create_model("dla46_c_centernet", **options).double().train()
        model.set_grad_checkpointing(memory_efficient and checkpointing)
        model(x)["hm"].square().mean().backward()
        found.append(({n: p.grad for n, p in model.named_parameters()}, dict(model.named_buffers())))
    (plain, kept), (again, statistics) = found
    assert all(gradient.abs().sum() > 0 for name, gradient in plain.items() if ".beside." in name)
    for name in plain:
        torch.testing.assert_close(again[name], plain[name], rtol=1e-9, atol=1e-12)
    assert all(torch.equal(statistics[name], kept[name]) for name in kept)


def test_layer_decay_takes_all_stems_for_the_first_layer():
    model = dla.create_model("dla46_c", in_chans=IMAGES)
    groups = timm.models.group_parameters(model, model.group_matcher(), reverse=True)
    assert {groups[name] for name in groups if name.startswith(("stem.", "beside."))} == {0}


@torch.no_grad()
def test_the_hub_keeps_the_images(tmp_path):
    model = HubModel("dla46_cup", num_classes=2, in_chans=[3, 1]).eval()
    model.save_pretrained(tmp_path / "depth")
    x = torch.randn(1, 4, 33, 40)
    assert torch.equal(HubModel.from_pretrained(tmp_path / "depth").eval()(x), model(x))


@pytest.mark.parametrize("in_chans", [(), (3, 0)])
def test_no_image_and_no_channel_are_refused(in_chans):
    with pytest.raises(ValueError, match=r"in_chans must be at least 1, not \("):
        dla.create_model("dla34", in_chans=in_chans)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("name", ["timm/resnet18", "resnet18+ida"])
def test_timms_networks_take_one_image(name):
    with pytest.raises(ValueError, match=r"timm's resnet18 takes one image, .* a whole number, not \(3, 3, 1\)"):
        dla.create_model(name, in_chans=IMAGES)
