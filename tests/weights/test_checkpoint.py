"""Checkpoints are read whole and as plain values, or refused with the file, the reason and the remedy."""

import pickle
import zipfile
from collections import OrderedDict
from fractions import Fraction
from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, WeightAveraging
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from dla.weights.checkpoint import CheckpointError, read_checkpoint


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class TinyTask(lightning.LightningModule):
    def __init__(self, width: int = 4, rates: tuple[float, ...] = (0.1, 0.2)):
        super().__init__()
        self.save_hyperparameters()
        self.model = nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width), nn.Linear(width, 1))

    def training_step(self, batch, _):
        loss = self.model(batch[0]).square().mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 3])]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    """What a run with Lightning's own checkpoint callbacks leaves behind."""
    folder = tmp_path_factory.mktemp("run")
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        callbacks=[
            ModelCheckpoint(folder, monitor="loss", filename="best", save_last=True),
            EarlyStopping("loss"),
            WeightAveraging(),
        ],
    )
    trainer.fit(TinyTask(), DataLoader(TensorDataset(torch.randn(8, 2)), batch_size=4))
    return folder


@pytest.fixture
def saved(tmp_path) -> Path:
    path = tmp_path / "weights.pt"
    torch.save({"state_dict": {"weight": torch.arange(3000.0)}, "epoch": 3}, path)
    return path


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*LeafSpec:FutureWarning")
@pytest.mark.parametrize("name", ["best.ckpt", "last.ckpt"])
def test_checkpoints_of_a_lightning_run_pass(run_folder, name):
    checkpoint = read_checkpoint(run_folder / name)
    assert checkpoint["hyper_parameters"] == {"width": 4, "rates": (0.1, 0.2)}
    assert checkpoint["state_dict"]["model.0.weight"].shape == (4, 2)
    assert {"optimizer_states", "lr_schedulers", "loops", "callbacks"} <= checkpoint.keys()


def test_what_was_saved_comes_back(tmp_path):
    values = {"a": [1, 2.5, None, True, b"bytes", ("x", {3: "y"})], "b": OrderedDict(c=torch.ones(2))}
    torch.save(values, tmp_path / "values.pt")
    loaded = read_checkpoint(tmp_path / "values.pt")
    assert loaded["a"] == values["a"]
    assert torch.equal(loaded["b"]["c"], values["b"]["c"])


def test_a_state_dict_in_the_form_before_torch_1_6_passes(tmp_path):
    layer = nn.BatchNorm2d(2)
    torch.save(layer.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert read_checkpoint(tmp_path / "old.pth").keys() == layer.state_dict().keys()


def test_a_list_that_holds_itself_does_not_hang(tmp_path):
    circle: list = []
    circle.append(circle)
    torch.save({"circle": circle}, tmp_path / "circle.pt")
    assert len(read_checkpoint(tmp_path / "circle.pt")["circle"]) == 1


def refused(path: Path, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
    assert ": " in str(caught.value)  # before the remedy


def test_a_missing_file_is_refused(tmp_path):
    refused(tmp_path / "missing.ckpt", "there is no file .*: check the path")


def test_a_folder_is_refused(tmp_path):
    refused(tmp_path, "is a folder, not a checkpoint: name a file in it$")
    (tmp_path / "checkpoints").mkdir()
    for name in ("best", "last"):
        (tmp_path / "checkpoints" / f"{name}.ckpt").touch()
    refused(tmp_path, r"name a file in it, for example .*checkpoints/best\.ckpt$")


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.ckpt").touch()
    refused(tmp_path / "empty.ckpt", "is empty.*use an earlier checkpoint")


@pytest.mark.parametrize("kept", [0.01, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_short_is_refused(saved, kept):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * kept)])
    refused(saved, "is cut short.*use an earlier checkpoint")


def test_an_old_file_that_was_cut_short_is_refused(tmp_path):
    path = tmp_path / "old.pth"
    torch.save({"weight": torch.ones(1000)}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:2000])
    refused(path, "cannot be read as a checkpoint.*use an earlier checkpoint")


def test_a_changed_byte_is_refused(saved):
    content = bytearray(saved.read_bytes())
    content[len(content) // 2] ^= 1
    saved.write_bytes(content)
    refused(saved, "is damaged.*checksum")


@pytest.mark.parametrize("content", [b"PK", b"some text", b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_another_kind_of_file_is_refused(tmp_path, content):
    path = tmp_path / "other.ckpt"
    path.write_bytes(content)
    refused(path, "is not a checkpoint, it starts with")


def test_another_kind_of_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(tmp_path / "other.zip", "is an archive but not a checkpoint")


def test_a_program_is_refused(tmp_path, saved):
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(tmp_path / "program.pt", "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
        target.writestr("archive/constants.pkl", b"")  # what tells a TorchScript program from a checkpoint
    refused(tmp_path / "program.pt", "is an archive but not a checkpoint")


def test_a_tensor_alone_is_refused(tmp_path):
    torch.save(torch.ones(2), tmp_path / "tensor.pt")
    refused(tmp_path / "tensor.pt", "holds a torch.Tensor where a dictionary was expected")


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_is_never_run(tmp_path, zipped):
    proof = tmp_path / "proof"
    torch.save({"x": Touch(proof)}, tmp_path / "bad.ckpt", _use_new_zipfile_serialization=zipped)
    refused(tmp_path / "bad.ckpt", "could run code, so nothing of it was loaded: save it again")
    assert not proof.exists()
    torch.load(tmp_path / "bad.ckpt", weights_only=False)  # the test's own weapon is loaded
    assert proof.exists()


def test_the_message_names_the_code(tmp_path):
    torch.save({"x": Touch(tmp_path)}, tmp_path / "bad.ckpt")
    refused(tmp_path / "bad.ckpt", r"pathlib\S*Path")


def test_code_in_a_bare_pickle_is_never_run(tmp_path):
    proof = tmp_path / "proof"
    (tmp_path / "bad.ckpt").write_bytes(pickle.dumps({"x": Touch(proof)}))
    refused(tmp_path / "bad.ckpt", "is not a checkpoint")
    assert not proof.exists()


def test_a_whole_module_is_refused(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "module.pt")
    refused(tmp_path / "module.pt", r"torch\.nn\.modules\.linear\.Linear.*model\.state_dict")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (torch.float16, "torch.dtype"),
        (torch.device("cpu"), "torch.device"),
        (torch.Size([2]), "torch.Size"),
        ({1, 2}, "set"),
        (2j, "complex"),
        (bytearray(b"x"), "bytearray"),
        (torch._utils._rebuild_tensor_v2, "builtin|function"),
    ],
)
def test_classes_that_torch_admits_are_refused_by_their_place(tmp_path, value, kind):
    torch.save({"hyper_parameters": {"list": [0, value]}}, tmp_path / "odd.ckpt")
    refused(tmp_path / "odd.ckpt", rf"holds a ({kind}) at checkpoint\['hyper_parameters'\]\['list'\]\[1\]")


def test_odd_keys_are_refused(tmp_path):
    torch.save({"a": {torch.float16: 1}}, tmp_path / "odd.ckpt")
    refused(tmp_path / "odd.ckpt", r"torch.dtype at a key of checkpoint\['a'\]")


def test_odd_attributes_of_containers_are_refused(tmp_path):
    state = nn.Linear(1, 1).state_dict()
    state._metadata["dtype"] = torch.float16  # type: ignore[attr-defined]
    torch.save(state, tmp_path / "odd.ckpt")
    refused(tmp_path / "odd.ckpt", r"torch.dtype at checkpoint\._metadata\['dtype'\]")


def test_functions_hooked_to_a_tensor_are_refused(tmp_path):
    weight = torch.ones(1)
    weight._backward_hooks = OrderedDict(a=torch._utils._rebuild_tensor_v2)  # type: ignore[assignment]
    arguments = (weight.untyped_storage(), 0, (1,), (1,), False, weight._backward_hooks)

    class Hooked:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (
                torch.storage.TypedStorage(wrap_storage=arguments[0], dtype=torch.float32, _internal=True),
                *arguments[1:],
            )

    torch.save({"weight": Hooked()}, tmp_path / "hooked.ckpt")
    refused(tmp_path / "hooked.ckpt", r"function at checkpoint\['weight'\]\._backward_hooks\['a'\]")


def test_classes_that_a_program_declared_safe_are_refused(tmp_path):
    torch.save({"rate": Fraction(1, 3)}, tmp_path / "odd.ckpt")
    with torch.serialization.safe_globals([Fraction]):
        refused(tmp_path / "odd.ckpt", r"holds a fractions.Fraction at checkpoint\['rate'\]")


def test_a_file_of_safetensors_is_told(tmp_path):
    save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(
        CheckpointError, match=r"is a file of safetensors, weights alone: load them by dla.load_weights"
    ):
        read_checkpoint(tmp_path / "model.safetensors")
