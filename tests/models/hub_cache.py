"""A cache of the Hugging Face hub as huggingface_hub lays it out, so that weights are found without a network."""

import hashlib

from huggingface_hub import constants
from safetensors.torch import save_file

COMMIT = "1f" * 20


def add_to_cache(repository, model):
    """Put a model's weights where `hf_hub_download` looks for them; the folder is models--OWNER--NAME."""
    for name in ("blobs", "refs", f"snapshots/{COMMIT}"):
        (repository / name).mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    save_file(model.state_dict(), repository / "blobs" / "new")
    digest = hashlib.sha256((repository / "blobs" / "new").read_bytes()).hexdigest()
    (repository / "blobs" / "new").rename(repository / "blobs" / digest)
    (repository / "snapshots" / COMMIT / "model.safetensors").symlink_to(f"../../blobs/{digest}")


def take_from_cache_alone(monkeypatch, folder):
    """Let huggingface_hub find what is in this folder, and nothing in the network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
