"""Networks go to a folder of the Hugging Face hub's form and come back as they were."""

import json
import shutil

import pytest
import torch
from disturbed import disturb
from huggingface_hub import HfApi

import dla
from dla.hub import HubModel
from dla.weights import WeightsError, packaged

CFG = {
    "classes": ["wall", "crack"],
    "colors": [[0, 0, 0], [255, 0, 0]],
    "mean": [0.5, 0.5, 0.5],
    "std": [0.2, 0.2, 0.2],
}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dla46_c", {"num_classes": 5, "in_chans": 1, "output_stride": 16, "drop_path_rate": 0.1}),
        ("dla46_cup", {"num_classes": 2, "in_chans": 1, "out_stride": 4}),
        ("dla46_cida", {"in_chans": 1, "norm_layer": "groupnorm"}),
        ("test_resnet.r160_in1k+ida", {"in_chans": 1, "num_classes": 2, "norm_layer": "groupnorm"}),
        ("dla46_c.in1k+ida", {"in_chans": 1, "num_classes": 2}),
    ],
)
@torch.no_grad()
def test_a_folder_is_enough_to_build_it_again(name, options, tmp_path):
    model = HubModel(name, cfg=CFG, **options).eval()
    disturb(model)
    model.save_pretrained(tmp_path / "it")
    assert {path.name for path in (tmp_path / "it").iterdir()} == {"config.json", "model.safetensors", "README.md"}
    again = HubModel.from_pretrained(tmp_path / "it")
    assert not again.training
    x = torch.randn(1, 1, 70, 65)
    torch.testing.assert_close(again(x), model(x), rtol=0, atol=0)
    assert again.network.pretrained_cfg == CFG
    assert again.config() == model.config()
    own = dla.create_model(name, **options).eval()
    dla.load_weights(own, tmp_path / "it" / "model.safetensors")
    torch.testing.assert_close(own(x), model(x), rtol=0, atol=0)


def test_an_option_of_none_is_not_given(tmp_path):
    """The weights' stem is another one than the default, and None leaves it to them."""
    HubModel("dla46_c.cifar10", stem_stride=None).save_pretrained(tmp_path)
    assert HubModel.from_pretrained(tmp_path).options["stem_stride"] == 1


def test_what_older_libraries_pass_on_is_no_option_of_the_network(tmp_path):
    """huggingface_hub before 1.0 calls with `proxies` and `resume_download`, whatever was asked for."""
    model = HubModel("dla46_c", num_classes=2)
    model.save_pretrained(tmp_path)
    options = json.loads(model.config())
    again = HubModel._from_pretrained(model_id=str(tmp_path), proxies=None, resume_download=None, **options)
    assert again.config() == model.config()


def test_the_config_is_plain_and_follows_the_head(tmp_path):
    model = HubModel("dla46_cup", num_classes=2, cfg=CFG)
    model.network.reset_classifier(7)
    model.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    facts = {key: CFG[key] for key in ("mean", "std")}  # the names are those of two classes
    assert written == {"name": "dla46_cup", "num_classes": 7, "cfg": facts}
    assert HubModel.from_pretrained(tmp_path).network.num_classes == 7


@pytest.mark.parametrize(("classes", "pool"), [(5, "max"), (0, "")])
@torch.no_grad()
def test_the_pooling_follows_the_head(classes, pool, tmp_path):
    model, x = HubModel("dla46_c", num_classes=10).eval(), torch.randn(1, 3, 70, 65)
    model.network.reset_classifier(classes, pool)
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(HubModel.from_pretrained(tmp_path)(x), model(x))


@torch.no_grad()
def test_lists_of_maps_too(tmp_path):
    HubModel("dla46_c", features_only=True, out_indices=[2, 3]).save_pretrained(tmp_path)
    again = HubModel.from_pretrained(tmp_path)
    assert [m.shape[1] for m in again(torch.randn(1, 3, 64, 64))] == [64, 64]


@pytest.mark.parametrize("name", packaged())
def test_packaged_weights_bring_their_facts_and_need_not_be_packaged_any_more(name, tmp_path):
    HubModel(name, pretrained=True).save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["name"] == name.partition(".")[0]
    assert "pretrained" not in written
    again, own = HubModel.from_pretrained(tmp_path), dla.create_model(name, pretrained=True)
    assert again.network.pretrained_cfg["classes"] == own.pretrained_cfg["classes"]
    assert torch.equal(again.network.get_classifier().weight, own.get_classifier().weight)


@torch.no_grad()
def test_a_name_is_found_in_the_hubs_cache(tmp_path):
    model = HubModel("dla46_c", num_classes=3).eval()
    revision = "0" * 40
    entry = tmp_path / "models--me--cracks"
    model.save_pretrained(entry / "snapshots" / revision)
    (entry / "refs").mkdir()
    (entry / "refs" / "main").write_text(revision)
    again = HubModel.from_pretrained("me/cracks", cache_dir=tmp_path, local_files_only=True)
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(again(x), model(x))


def test_what_is_pushed_can_be_loaded(tmp_path, monkeypatch):
    """The two calls that reach the network write to a folder instead."""
    names = []
    monkeypatch.setattr(HfApi, "create_repo", lambda self, repo_id, **_: names.append(repo_id) or Repo(repo_id))
    monkeypatch.setattr(
        HfApi,
        "upload_folder",
        lambda self, *, repo_id, folder_path, **_: shutil.copytree(folder_path, tmp_path / repo_id),
    )
    HubModel("dla46_c", num_classes=3).push_to_hub("me/cracks")
    assert names == ["me/cracks"]
    assert HubModel.from_pretrained(tmp_path / "me" / "cracks").network.num_classes == 3
    card = (tmp_path / "me" / "cracks" / "README.md").read_text()
    assert "library_name: deep-layer-aggregation" in card


class Repo:
    """What `HfApi.create_repo` returns, as far as it is read."""

    def __init__(self, repo_id):
        self.repo_id = repo_id


def test_loading_is_strict(tmp_path):
    HubModel("dla46_c", num_classes=3).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "name": "dla60x_c"}))
    with pytest.raises(WeightsError, match="missing"):
        HubModel.from_pretrained(tmp_path)


def test_a_folder_without_a_config_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"no config\.json that names a network"):
        HubModel.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: HubModel("dla35"), ValueError, "unknown model"),
        (lambda: HubModel("dla46_c", planes=3), TypeError, "planes"),
        (lambda: HubModel("dla46_c", norm_layer=torch.nn.BatchNorm2d), TypeError, "plain values alone"),
        (lambda: HubModel("dla46_c", cfg={"mean": torch.zeros(3)}), TypeError, "plain values alone"),
    ],
)
def test_bad_input_is_told(call, error, message):
    with pytest.raises(error, match=message):
        call()
