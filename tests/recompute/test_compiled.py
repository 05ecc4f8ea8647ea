"""Recomputing and gradient checkpointing through torch.compile: gradients of plain training, from half of what is kept.

In a process of their own: here, the run-time checks of shapes stand in the compiler's way.
"""

import copy
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from as_one import total
from own_process import in_own_process
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

import dla

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

BACKEND = "aot_eager_decomp_partition"  # decides what is kept as the usual one does, and generates no code
OURS = {
    "classifier": ("dla34", {"width": 0.5}),
    "grouped, of odd size": ("dla46x_c", {}),
    "group norm": ("dla46_c", {"norm_layer": "groupnorm"}),
    "list of maps": ("dla46_c", {"features_only": True}),
    "dla-up": ("dla46_cup", {"num_classes": 5}),
    "heads of a detector": ("dla34_centernet", {}),
}
SMALL = ("test_resnet+ida", {"num_classes": 5})
IN_PLACE = {
    "an activation": lambda x: x.relu_(),
    "a sum": lambda x: x.add_(x * 2),
    "a product, which is not marked": lambda x: x.mul_(0.5),
    "a slice": lambda x: x[:, 1:3].relu_(),
    "a slice from another": lambda x: x[:, :2].copy_(x[:, 2:] * 3),
}
THEIRS = ("test_resnet", "test_convnext", "test_efficientnet")


def step(
    model: nn.Module, x: torch.Tensor, recompute: bool = False, compiled: bool = True, broken: bool = False
) -> dict[str, Any]:
    """Bytes that a step of a copy keeps for the backward pass, and its gradients and buffers."""
    torch._dynamo.reset()
    model = copy.deepcopy(model)
    kept, printed = [], []
    if broken:
        middle = next(part for name, part in model.named_modules() if name.endswith("layer2"))
        middle.register_forward_hook(lambda _, __, out: printed.append(float(out.sum())))
    forward = dla.recomputed(model, recompute)
    forward = torch.compile(forward, backend=BACKEND, fullgraph=not broken) if compiled else forward
    with saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        out = forward(x)
    total(out).backward()
    sizes = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in kept}
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers(), x)}
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {"kept": sum(n for p, n in sizes.items() if p not in own), "grads": gradients, "stats": model.state_dict()}


def distance(plain: dict[str, Any], other: dict[str, Any], what: str) -> float:
    """Between two steps, relative to each tensor's norm in the first; where that is rounding, to the largest."""
    largest = max(float(t.double().norm()) for t in plain[what].values())
    return max(
        float((t.double() - other[what][name].double()).norm()) / (float(t.double().norm()) + 1e-7 * largest)
        for name, t in plain[what].items()
    )


def compared(plain: dict[str, Any], other: dict[str, Any], eager: dict[str, Any]) -> dict[str, float]:
    """How much `other` keeps of what `plain` does, and how far its numbers are from those of `eager`."""
    distances = {what: distance(eager, other, what) for what in ("grads", "stats")}
    return {"kept": other["kept"] / plain["kept"], **distances}


def recomputes(model: nn.Module) -> dict[str, float]:
    """A step that recomputes beside one that does not, in a network of ours or of timm."""
    x = torch.randn(2, 3, 49, 55, dtype=torch.double)
    model.double().train()
    ours = hasattr(model, "set_memory_efficient")
    if ours:
        model.set_memory_efficient(False)
    eager, plain = step(model, x, compiled=False), step(model, x)
    if ours:
        model.set_memory_efficient(True)
    return compared(plain, step(model, x, recompute=not ours), eager)


def in_place(write: Callable[[torch.Tensor], Any]) -> float:
    """How far gradients are from plain ones where `write` changes a tensor that is used by the same name."""
    torch._dynamo.reset()

    def layers(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        normal = F.batch_norm(F.conv2d(x, weight), None, None, training=True)
        write(normal)
        return F.conv2d(normal * normal, weight)

    def gradients(function: Callable[..., torch.Tensor]) -> Sequence[torch.Tensor]:
        torch.manual_seed(0)
        leaves = [torch.randn(*size, dtype=torch.double, requires_grad=True) for size in ((2, 4, 5, 7), (4, 4, 1, 1))]
        return torch.autograd.grad(function(*leaves).square().sum(), leaves)

    both = zip(gradients(layers), gradients(torch.compile(dla.recomputed(layers), backend=BACKEND)), strict=True)
    return max(float((found - plain).norm() / plain.norm()) for plain, found in both)


def named() -> float:
    """What a function gives whose argument is named as one of those of PyTorch's checkpointing."""

    def times(x: torch.Tensor, *, preserve_rng_state: int) -> torch.Tensor:
        return x * preserve_rng_state

    run = torch.compile(dla.recomputed(times), backend=BACKEND)
    return float(run(torch.ones(1, requires_grad=True), preserve_rng_state=3).detach())


def ours() -> dict[str, Any]:
    """What is compared of our networks."""
    return {kind: recomputes(dla.create_model(name, **options)) for kind, (name, options) in OURS.items()}


def small() -> dict[str, Any]:
    """What is compared of smaller ones: of timm, and on a backbone of timm, also with other ways to train."""
    found: dict[str, Any] = {name: recomputes(timm.create_model(name, num_classes=5)) for name in THEIRS}
    found |= {name: in_place(write) for name, write in IN_PLACE.items()}
    found["named"] = named()
    found["aggregated"] = recomputes(dla.create_model(SMALL[0], **SMALL[1]))
    x = torch.randn(2, 3, 49, 55, dtype=torch.double)
    model = dla.create_model(SMALL[0], **SMALL[1]).double().train()
    default = step(model, x)["kept"]
    with warnings.catch_warnings(record=True) as warned:
        broken = step(model, x, broken=True)
    found["warned"] = [str(warning.message) for warning in warned]
    found["broken"] = compared(step(model, x), broken, step(model, x, compiled=False))
    model.set_memory_efficient(True)
    found["default"] = default / step(model, x)["kept"]
    model.eval()
    found["evaluation"] = step(model, x)["kept"]
    program = torch.export.export(model, (x,), strict=True)
    found["exported"] = sum("checkpoint" in str(node.target) for node in program.graph.nodes)
    model.set_memory_efficient(False)
    found["evaluation"] /= step(model, x)["kept"]
    model.train()
    eager, plain = step(model, x, compiled=False), step(model, x)
    model.set_grad_checkpointing()
    found["checkpointing"] = compared(plain, step(model, x), eager)
    model.set_memory_efficient(True)
    found["both"] = compared(plain, step(model, x), eager)
    return found


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return in_own_process(__file__, "small", limit=850)


@pytest.fixture(scope="module")
def found_of_ours() -> dict[str, Any]:
    return in_own_process(__file__, "ours", limit=850)


def same(result: dict[str, float]) -> bool:
    return result["grads"] < 1e-5 and result["stats"] < 1e-9


@pytest.mark.parametrize("kind", [*THEIRS, "aggregated"])
def test_the_gradients_of_plain_training_from_about_half_the_maps(found, kind):
    assert same(found[kind])
    assert found[kind]["kept"] < 0.6


@pytest.mark.parametrize("kind", IN_PLACE)
def test_a_tensor_that_is_changed_in_place(found, kind):
    assert found[kind] < 1e-12


@pytest.mark.parametrize("kind", OURS)
def test_so_in_our_networks(found_of_ours, kind):
    assert same(found_of_ours[kind])
    assert found_of_ours[kind]["kept"] < 0.65


@pytest.mark.parametrize("kind", ["checkpointing", "both"])
def test_gradient_checkpointing_keeps_the_inputs_of_stages(found, kind):
    assert same(found[kind])
    assert 0.01 < found[kind]["kept"] < 0.2


def test_a_hook_that_breaks_the_graph(found):
    assert same(found["broken"])
    assert any("a network runs uncompiled and keeps all" in warning for warning in found["warned"])


def test_arguments_by_name(found):
    assert found["named"] == 3


def test_it_is_the_default(found):
    assert found["default"] == 1


def test_what_is_not_in_training_is_compiled_as_it_stands(found):
    assert found["evaluation"] == 1
    assert found["exported"] == 0


if __name__ == "__main__":
    print(json.dumps({"small": small, "ours": ours}[sys.argv[1]]()))
