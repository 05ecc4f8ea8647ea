"""Training that computes cheap results again: the same gradients, statistics and random numbers as plain training."""

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from as_one import total
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import dla
from dla.recompute.notes import TIDY, Notes
from dla.recompute.recipe import Geometry, Kept, Place, Recipe
from dla.recompute.recording import Recording

NAMES = ["dla34", "dla46x_c", "dla34up", "dla46_cida", "resnet18+ida", "dla34_centernet"]


def trained(model: nn.Module, x: torch.Tensor, **options):
    """Result, gradients, buffers and the random state behind a training step of a copy."""
    model = copy.deepcopy(model)
    torch.manual_seed(1)
    with dla.recomputing(**options):
        out = model(x)
    loss = total(out)
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    return loss.detach(), gradients, dict(model.named_buffers()), torch.get_rng_state()


def assert_same(plain, efficient) -> None:
    loss, gradients, buffers, state = plain
    assert torch.equal(loss, efficient[0])
    largest = max(float(g.norm()) for g in gradients.values() if g is not None)
    for name, gradient in gradients.items():
        if gradient is None:
            assert efficient[1][name] is None
        else:  # where a gradient is zero but for rounding, that of the whole network is the measure
            bound = 1e-5 * float(gradient.norm()) + 1e-12 * largest
            assert float((gradient - efficient[1][name]).norm()) <= bound, name
    for name, buffer in buffers.items():
        assert torch.equal(buffer, efficient[2][name]), name
    assert torch.equal(state, efficient[3])


def network(name: str, **options) -> nn.Module:
    heads = {} if name == "dla34_centernet" else {"num_classes": 5}
    model = dla.create_model(name, drop_path_rate=0.2, memory_efficient=False, **heads, **options)
    return model.double().train()


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_plain_training(name):
    layout = torch.channels_last if name in NAMES[::2] else torch.contiguous_format
    model = network(name).to(memory_format=layout)
    x = torch.randn(2, 3, 49, 55, dtype=torch.double).to(memory_format=layout)
    plain = trained(model, x, enable=False)
    for macs in (0, 150):
        assert_same(plain, trained(model, x, macs=macs))


def test_residual_nodes_and_group_norm():
    x = torch.randn(2, 3, 64, 64, dtype=torch.double)
    for model in (network("dla102", width=0.25), network("dla46_c", norm_layer="groupnorm")):
        assert_same(trained(model, x, enable=False), trained(model, x))


def test_frozen_batch_norm():
    model, x = network("dla46_c").eval(), torch.randn(2, 3, 49, 55, dtype=torch.double)
    assert_same(trained(model, x, enable=False), trained(model, x))


@pytest.mark.parametrize("name", ["resnet14t", "mobilenetv3_small_050", "convnext_atto"])
def test_networks_that_are_not_ours(name):
    model = timm.create_model(name, num_classes=5, drop_path_rate=0.2).double().train()
    x = torch.randn(2, 3, 49, 55, dtype=torch.double)
    assert_same(trained(model, x, enable=False), trained(model, x))


def test_models_do_it_unless_switched_off(monkeypatch):
    packed = []
    original = Recording.pack
    monkeypatch.setattr(Recording, "pack", lambda self, tensor: packed.append(tensor) or original(self, tensor))
    for name in NAMES:
        model = dla.create_model(name)
        model(torch.randn(2, 3, 64, 64))
        assert packed, name
        packed.clear()
        dla.create_model(name, memory_efficient=False)(torch.randn(2, 3, 64, 64))
        model.set_memory_efficient(False)
        model(torch.randn(2, 3, 64, 64))
        assert not packed, name


def test_mixed_precision():
    model, x = network("dla46_c").float(), torch.randn(2, 3, 65, 71)

    def gradients(enable: bool) -> list[torch.Tensor]:
        copied = copy.deepcopy(model)
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16), dla.recomputing(enable):
            loss = total(copied(x).float())
        loss.backward()
        return [p.grad for p in copied.parameters()]

    for plain, efficient in zip(gradients(False), gradients(True), strict=True):
        torch.testing.assert_close(efficient, plain, rtol=0.05, atol=0.02 * float(plain.abs().max()) + 1e-6)


ACTIVATIONS = {
    "relu": F.relu,
    "relu in place": F.relu_,
    "relu6 in place": lambda x: F.hardtanh(x, 0, 6, inplace=True),
    "hardswish in place": lambda x: F.hardswish(x, inplace=True),
    "silu": F.silu,
    "silu in place": lambda x: F.silu(x, inplace=True),
    "leaky in place": lambda x: F.leaky_relu(x, 0.1, inplace=True),
    "gelu": F.gelu,
    "elu, which has no recipe": lambda x: F.elu(x, inplace=True),
    "a sum with itself": lambda x: x.add_(x * 2),
    "a gate": lambda x: F.relu(x) * x.mean((2, 3), keepdim=True),
    "slices": lambda x: torch.cat([x[:, 1:3], F.relu(x)[:, :2]], 1),
    "a pool": lambda x: F.interpolate(F.max_pool2d(F.relu(x), 2, ceil_mode=True), x.shape[-2:]),
    "a pool that overlaps": lambda x: F.max_pool2d(x, 3, 1, padding=1),
    "a pool of channels last": lambda x: F.max_pool2d(x.contiguous(memory_format=torch.channels_last), 3, 1, 1),
    "changed in place without a recipe": lambda x: (x + 1).mul_(0.5),
}


@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_operations(activation):
    def gradients(enable: bool) -> tuple[torch.Tensor, ...]:
        torch.manual_seed(0)
        x = torch.randn(2, 4, 5, 7, dtype=torch.double, requires_grad=True)
        weight = torch.randn(4, 4, 1, 1, dtype=torch.double, requires_grad=True)
        with dla.recomputing(enable):
            normalised = F.batch_norm(F.conv2d(x, weight), None, None, training=True)
            out = F.conv2d(activation(normalised), weight)
        return torch.autograd.grad(out.square().sum(), [x, weight])

    for plain, efficient in zip(gradients(False), gradients(True), strict=True):
        torch.testing.assert_close(efficient, plain, rtol=1e-12, atol=1e-12)


def test_a_pool_over_more_than_16_bits_count():
    x = torch.randn(1, 1, 190, 180, requires_grad=True)  # 34,200 pixels
    with dla.recomputing():
        out = F.max_pool2d(F.relu(x), 2).square().sum()
    recomputed, *_ = torch.autograd.grad(out, x)
    plain, *_ = torch.autograd.grad(F.max_pool2d(F.relu(x), 2).square().sum(), x)
    assert torch.equal(recomputed, plain)


def test_a_change_behind_our_back_is_an_error():
    weight = torch.randn(4, 4, 1, 1, requires_grad=True)
    with dla.recomputing(macs=0):
        first = F.conv2d(torch.randn(2, 4, 5, 5), weight)
        out = F.conv2d(F.relu(first + 1), weight)
    first.detach().mul_(2)  # plain training would not notice, since a sum needs no operand; a recipe does
    with pytest.raises(RuntimeError, match=r"shape \(2, 4, 5, 5\).* was changed in place .* set_memory_efficient"):
        out.sum().backward()


def test_backward_twice_and_second_derivatives():
    model, x = network("dla34", width=0.25), torch.randn(2, 3, 33, 39, dtype=torch.double)

    def derivatives(enable: bool) -> list[list[torch.Tensor]]:
        with dla.recomputing(enable):
            loss = total(copy.deepcopy(model.head)(model.forward_features(x)))
        parameters = [p for name, p in model.named_parameters() if not name.startswith("head")]
        first, again = (torch.autograd.grad(loss, parameters, retain_graph=True) for _ in range(2))
        for a, b in zip(first, again, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
        gradients = torch.autograd.grad(loss, parameters[:3], create_graph=True)
        return [list(first), list(torch.autograd.grad(sum(g.square().sum() for g in gradients), parameters))]

    model.set_memory_efficient(False)
    model.train()
    torch.manual_seed(2)
    plain = derivatives(False)
    torch.manual_seed(2)
    for expected, found in zip(plain, derivatives(True), strict=True):
        for p, e in zip(expected, found, strict=True):
            torch.testing.assert_close(e, p, rtol=1e-6, atol=1e-9 * float(p.abs().max()) + 1e-12)


class Counter(TorchDispatchMode):
    """Counts operations."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


def operations(loss: torch.Tensor) -> int:
    with Counter() as counter:
        loss.backward(retain_graph=True)
    return counter.count


def test_another_pass_computes_no_more_than_the_first():
    model = dla.create_model("dla102", width=0.125, memory_efficient=True).train()
    loss = total(model(torch.randn(2, 3, 33, 39)))
    first, again = operations(loss), operations(loss)
    assert again < 1.02 * first + 200  # which add up gradients


def test_what_is_needed_twice_on_the_way_is_computed_once():
    def counted(length: int) -> int:
        x = torch.ones(2, requires_grad=True)
        with dla.recomputing():
            y = torch.relu(x)
            for _ in range(length):
                y = y + 0.1 * y
            loss = y.exp().sum() + y.square().sum()
        return operations(loss)

    assert counted(16) < counted(8) + 8 * 8


def test_statistics_that_change_between_a_frozen_pass_and_its_gradients():
    model, x = network("dla46_c"), torch.randn(4, 3, 49, 55, dtype=torch.double)

    def gradients(enable: bool) -> list[torch.Tensor]:
        same = copy.deepcopy(model)
        torch.manual_seed(1)
        with dla.recomputing(enable):
            loss = total(same.eval()(x))
        with dla.recomputing(enable):
            same.train()(x)
        return list(torch.autograd.grad(loss, list(same.parameters())))

    for expected, found in zip(gradients(False), gradients(True), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9 * float(expected.abs().max()))


def test_operations_that_take_functions():
    x = torch.tensor([1.0, -1.0, 2.0], requires_grad=True)
    with dla.recomputing():
        (out,) = torch.cond(x.sum() > 0, lambda a: (a.sin(),), lambda a: (a.cos(),), (torch.relu(x),))
    out.sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([1.0, 0.0, 2.0]).cos() * torch.tensor([1.0, 0.0, 1.0]))


def test_it_leaves_alone_what_others_save():
    model, x = dla.create_model("dla46_c", num_classes=5).eval(), torch.randn(2, 3, 64, 64)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        model(x)
    assert kept
    parameters = dict(model.named_parameters())
    gradients = torch.func.grad(lambda p: torch.func.functional_call(model, p, (x,)).sum())(parameters)
    model(x).sum().backward()
    for name, p in parameters.items():
        torch.testing.assert_close(gradients[name], p.grad, rtol=1e-3, atol=1e-4)


def test_with_gradient_checkpointing():
    model, x = network("dla34up"), torch.randn(2, 3, 49, 55, dtype=torch.double)
    plain = trained(model, x, enable=False)
    model.set_grad_checkpointing()
    model.set_memory_efficient()
    assert_same(plain, trained(model, x, enable=False))


def test_nothing_outlives_the_graph():
    weight = torch.randn(4, 4, 1, 1, requires_grad=True)
    with dla.recomputing():
        out = F.relu(F.batch_norm(F.conv2d(torch.randn(2, 4, 5, 5), weight), None, None, training=True))
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)
    assert hooks is None
    reference = torch.multiprocessing.reductions.StorageWeakRef(out.untyped_storage())
    out.sum().backward()
    del out
    assert reference.expired()


def test_notes_of_freed_memory_are_dropped_and_others_stay():
    notes, living = Notes(), torch.zeros(3)
    recipe = Recipe(torch.relu, [Kept(living)], {})
    notes.add(living, recipe, 0)
    for _ in range(5 * TIDY):
        notes.add(torch.zeros(3), recipe, 0)
    assert notes.place(living) is not None
    assert len(notes.places) <= 2 * TIDY


def test_a_chain_longer_than_the_stack():
    geometry = Geometry((2,), (1,), torch.float32)
    place = Place(Recipe(torch.add, [Kept(torch.zeros(2)), 1.0], {}), 0, geometry, None)
    for _ in range(400):
        place = Place(Recipe(torch.add, [place, 1.0], {}), 0, geometry, None)
    assert place.take().tolist() == [401, 401]


def test_operations_keep_their_options():
    x = torch.linspace(-2, 2, 8, dtype=torch.double, requires_grad=True)

    def gradient(enable: bool) -> torch.Tensor:
        with dla.recomputing(enable):
            out = F.gelu(torch.add(x, x * x, alpha=0.5), approximate="tanh") * x
        return torch.autograd.grad(out.sum(), x)[0]

    torch.testing.assert_close(gradient(True), gradient(False), rtol=1e-12, atol=1e-12)


def test_a_tensor_twice_in_one_operation():
    weight = torch.randn(2, 2, 1, 1, dtype=torch.double, requires_grad=True)

    def gradient(enable: bool) -> torch.Tensor:
        with dla.recomputing(enable, macs=0):
            normal = F.batch_norm(
                F.conv2d(torch.ones(1, 2, 3, 3).double().cumsum(3), weight), None, None, training=True
            )
            out = F.conv2d(F.relu(normal + normal), weight)
        return torch.autograd.grad(out.square().sum(), weight)[0]

    torch.testing.assert_close(gradient(True), gradient(False), rtol=1e-9, atol=1e-9)


def test_by_default_a_gpu_keeps_all():
    with FakeTensorMode():
        gpu = torch.empty(1, 3, 8, 8, device="cuda")
    assert [dla.recompute.recomputes_on(choice, gpu) for choice in (None, True, False)] == [False, True, False]
    assert [dla.recompute.recomputes_on(choice, torch.empty(1)) for choice in (None, True, False)] == [
        True,
        True,
        False,
    ]


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("name", ["dla46_c", "dla46_cup", "dla46_cida", "test_resnet+unet", "test_convnext+fpn"])
def test_networks_are_traced_by_fx(name):
    model, x = dla.create_model(name, num_classes=3).eval(), torch.randn(1, 3, 70, 65)
    with torch.no_grad():
        torch.testing.assert_close(torch.fx.symbolic_trace(model)(x), model(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [1, 300])
def test_statistics_in_half_precision_are_not_computed_with(dtype, scale):
    """The inverse variance of large numbers is 0 in float16, in which a CPU returns statistics of such weights."""
    model = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 1)).to(dtype)
    x = (scale * torch.randn(4, 3, 16, 16)).to(dtype)
    plain, efficient = trained(model, x, enable=False), trained(model, x)
    for name, gradient in plain[1].items():
        assert torch.equal(gradient, efficient[1][name]), name
