"""Networks on the Hugging Face hub, or in a folder of its form: `save_pretrained`, `from_pretrained`, `push_to_hub`."""

import json
from pathlib import Path
from typing import Any

from huggingface_hub import PyTorchModelHubMixin, hf_hub_download
from huggingface_hub.constants import CONFIG_NAME, SAFETENSORS_SINGLE_FILE
from torch import Tensor, nn

from dla.files import atomic_write, write_text
from dla.models import create_model, list_models
from dla.models.from_run import load_trained
from dla.models.heads import Classifier
from dla.names import parse
from dla.weights import completed_options, load_weights

DOWNLOAD = ("revision", "cache_dir", "force_download", "local_files_only", "token", "proxies", "resume_download")
"""Options of `from_pretrained` for the hub; all others make the network. huggingface_hub 1.0 dropped the last two."""


class HubModel(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="deep-layer-aggregation",
    tags=["deep-layer-aggregation"],
    paper_url="https://arxiv.org/abs/1707.06484",
):
    """A network of `dla.create_model` that knows how it was made, so that a folder is enough to make it again.

        model = HubModel("dla34up", num_classes=2, cfg={"classes": ["wall", "crack"]})
        model.save_pretrained("cracks")  # or model.push_to_hub("me/cracks")
        model = HubModel.from_pretrained("cracks")  # or "me/cracks"
        model = HubModel.from_run("runs/cracks/checkpoints/best.ckpt")  # what `dla fit` has trained, to share it

    The folder gets config.json, a card and model.safetensors, which `dla.load_weights` reads as well. Loading is
    strict, unpickles nothing, and gives the network in evaluation mode.

    Args:
        name: of `dla.create_model`.
        cfg: facts in plain values, such as classes, colors, mean and std; they become the network's `pretrained_cfg`.
        options: of `dla.create_model`, in plain values.

    Attributes:
        network: the network, to train or to give a new head; its number of classes is saved as it is then.

    Raises:
        TypeError: an option is unknown, or JSON cannot hold it or a fact.
        ValueError: the name or an option's value is wrong.
    """

    def __init__(self, name: str, *, cfg: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__()
        self.network = create_model(name, **options)
        self.network.pretrained_cfg = {**getattr(self.network, "pretrained_cfg", {}), **(cfg or {})}  # type: ignore[assignment]
        # The weights are in the folder, so that the name need not tell which they were at the start.
        named = parse(name)
        self.name = named.untagged if named.whole or named.untagged in list_models() else name
        self.options = completed_options(name, {key: value for key, value in options.items() if key != "pretrained"})
        try:
            self.config()
        except TypeError as error:
            raise TypeError(
                f"config.json takes plain values alone, in cfg and in the options of {name}: {error}"
            ) from None

    @classmethod
    def from_run(cls, path: str | Path) -> "HubModel":
        """The network of a checkpoint that `dla fit` wrote, with all that is known of its classes and images.

        Raises:
            CheckpointError: the file is no whole checkpoint of a run, or of a network that cannot be built.
        """
        network, description = load_trained(Path(path))
        options = {"num_classes": description["num_classes"], **(description.get("options") or {})}
        facts = {key: fact for key, fact in description.items() if key not in ("model", "num_classes", "options")}
        model = cls(description["model"], cfg=facts, **options)
        model.network.load_state_dict(network.state_dict())
        return model.eval()

    def forward(self, x: Tensor) -> Any:
        """What the network gives for images (b, c, h, w)."""
        return self.network(x)

    def config(self) -> str:
        """The text of config.json."""
        head = {"num_classes": getattr(self.network, "num_classes", None)}  # as `reset_classifier` left it
        if isinstance(self.network, Classifier):
            head["global_pool"] = self.network.global_pool
        options = self.options | {key: value for key, value in head.items() if value is not None}
        return json.dumps({"name": self.name, "cfg": self.network.pretrained_cfg, **options}, indent=2) + "\n"

    def _save_pretrained(self, save_directory: Path) -> None:
        from safetensors.torch import save_file

        state = {key: value.contiguous() for key, value in self.network.state_dict().items()}
        with atomic_write(save_directory / SAFETENSORS_SINGLE_FILE) as partial:
            save_file(state, partial, metadata={"format": "pt"})
        write_text(save_directory / CONFIG_NAME, self.config())

    @classmethod
    def _from_pretrained(cls, *, model_id: str, map_location: str = "cpu", **options: Any) -> "HubModel":
        of_hub = {name: options.pop(name) for name in DOWNLOAD if name in options}
        if "name" not in options:
            raise ValueError(f"{model_id} has no {CONFIG_NAME} that names a network: give what HubModel has saved")
        model = cls(**options)
        inside = Path(model_id) / SAFETENSORS_SINGLE_FILE
        path = inside if inside.parent.is_dir() else hf_hub_download(model_id, SAFETENSORS_SINGLE_FILE, **of_hub)
        load_weights(model.network, path)
        return model.to(map_location).eval()
