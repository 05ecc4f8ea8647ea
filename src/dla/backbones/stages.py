"""Classifiers that give no maps, such as torchvision's: the last map of each stride is found and taken out."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dla.backbones.maps import Maps
from dla.backbones.probe import SIZES, layout, run_once

Ran = dict[str, list[tuple[str, int]]]
"""Of each part that gave a tensor, the parts in it that gave maps, in the order in which they ran, with the strides."""


def stage_maps(model: nn.Module, *, in_chans: int = 3, finest: int = 2) -> Maps:
    """The maps at the ends of the stages of a classifier that `torch.fx` can trace; what no map needs is dropped.

    A stage ends with the last part of the network that gives a map of its stride; a part that coarsens more than
    twofold is looked into.

    Args:
        model: the classifier.
        in_chans: channels of the images.
        finest: maps of finer strides are left out.

    Raises:
        ValueError: `torch.fx` cannot trace the model, or loses what it does in place; or it fails on small images.
    """
    from torchvision.models.feature_extraction import create_feature_extractor

    ends = _ends("", 1, _ran(model, in_chans))
    names = [ends[stride] for stride in sorted(ends) if stride >= finest]
    if not names:
        raise ValueError(f"{type(model).__name__} gives no maps: it must return a list of maps, or be built of stages")
    try:
        body = create_feature_extractor(model, names, suppress_diff_warning=True)
    except Exception as error:  # whatever tracing comes upon
        raise _inseparable(model, names, str(error)) from error
    _keep_maps(body)
    _expect_same(model, body, names, in_chans)
    return Maps(body, in_chans=in_chans)


def _keep_maps(body: Any) -> None:
    """What reads a map, such as a ReLU in place at the start of the next stage, must leave it as it was."""
    for graph in (body.train_graph, body.eval_graph):
        output = next(node for node in graph.nodes if node.op == "output")
        for reader in [reader for taken in output.all_input_nodes for reader in taken.users]:
            if reader.op == "call_module" and hasattr(layer := body.get_submodule(reader.target), "inplace"):
                layer.inplace = False
            elif "inplace" in reader.kwargs:
                reader.kwargs = {**reader.kwargs, "inplace": False}
    body.recompile()


def _expect_same(model: nn.Module, body: nn.Module, names: list[str], in_chans: int) -> None:
    """Tracing drops `y.relu_()` as a statement of its own, whose result nobody reads, and sees nothing amiss.

    Raises:
        ValueError: the maps of `body` are not those of the model's parts.
    """
    # As the part gave it, each time that it ran, and as what came behind the part left it.
    given: dict[str, list[Tensor]] = {name: [] for name in names}
    hooks = {
        model.get_submodule(name): lambda _, __, out, maps=maps: maps.extend((out.clone(), out))
        for name, maps in given.items()
    }
    _run_hooked(model, hooks, in_chans)
    taken = run_once(body, SIZES[0], in_chans)
    for name, maps in given.items():
        if not any(_alike(x, taken[name]) for x in maps):
            raise _inseparable(model, names, "something in it is computed in place, outside of its layers")


def _alike(x: Tensor, y: Tensor) -> bool:
    return x.is_meta or (x.shape == y.shape and torch.allclose(x, y, rtol=1e-2, atol=1e-4, equal_nan=True))


def _inseparable(model: nn.Module, names: list[str], reason: str) -> ValueError:
    return ValueError(
        f"{type(model).__name__} cannot be taken apart into {', '.join(names)} ({reason}): give a module that returns "
        "a list of maps, finest first"
    )


def _ran(model: nn.Module, in_chans: int) -> Ran:
    given: list[tuple[str, int | None]] = []  # each part that gave a tensor, and the stride where that is a map
    names = {part: name for name, part in model.named_modules() if name}

    def note(part: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            found = layout(output, SIZES[0])
            given.append((names[part], found.spec.stride if found else None))

    _run_hooked(model, dict.fromkeys(names, note), in_chans)
    ran: Ran = defaultdict(list)
    wholes = {name for name, _ in given}
    for name, stride in given:
        if stride is not None:
            ran[_whole(name, wholes)].append((name, stride))
    return ran


def _whole(name: str, wholes: Collection[str]) -> str:
    """Of which part a part is; a list of modules does not run, and what gives several maps has its stages within."""
    whole = name.rpartition(".")[0]
    return whole if not whole or whole in wholes else _whole(whole, wholes)


def _run_hooked(model: nn.Module, hooks: Mapping[nn.Module, Callable[..., None]], in_chans: int) -> None:
    """Run the model once, on a small image, with a forward hook on each of these parts."""
    handles = [part.register_forward_hook(hook) for part, hook in hooks.items()]
    try:
        run_once(model, SIZES[0], in_chans)
    finally:
        for handle in handles:
            handle.remove()


def _ends(whole: str, stride: int, ran: Ran) -> dict[int, str]:
    """The last part of each stride in `whole`, which reads a map of `stride`."""
    ends: dict[int, str] = {}
    for name, coarser in ran.get(whole, []):
        if coarser > 2 * stride:
            ends |= _ends(name, stride, ran)
        ends[coarser] = name
        stride = coarser
    return ends
