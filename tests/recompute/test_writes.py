"""Whatever writes to memory while a recording is active, gradients stay those of plain training."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import dla
from dla.recompute.recording import Recording


def normalised(x: torch.Tensor) -> torch.Tensor:
    """What the backward pass would compute again."""
    return F.batch_norm(x, None, None, training=True)


class Clamp(torch.autograd.Function):
    """Writes to its argument, as activated batch norms that work in place do."""

    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        x.clamp_(min=0)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * (x > 0)


def under_no_grad(x, weight):
    y = normalised(x)
    with torch.no_grad():
        y.mul_(0.5)
    return F.conv2d(y, weight)


def by_out(x, weight):
    y = normalised(x)
    d = y.detach()
    with torch.no_grad():
        torch.add(d, 1.0, out=d)
    return F.conv2d(y, weight)


def under_hooks_of_others(x, weight):
    y = normalised(x)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        F.relu_(y)
    return F.conv2d(y, weight)


def of_several_at_once(x, weight):
    y = normalised(x)
    torch._foreach_mul_([y], 2.0)
    return F.conv2d(y, weight)


def to_some_channels(x, weight):
    y = normalised(x)
    y[:, :2].relu_()
    return F.conv2d(y, weight)


def to_a_slice_of_which_another_is_used(x, weight):
    y = normalised(x)
    rest = y[1:]
    rest += 1.0
    return F.conv2d(y[:1], weight)


def from_one_half_to_the_other(x, weight):
    y = normalised(x)
    half = y[:, 2:]
    half += y[:, :2]
    return F.conv2d(torch.cat([y[:, :2], half], 1), weight)


def to_what_a_result_started_from(x, weight):
    c = F.conv2d(x, weight)
    a = F.relu(c)
    c.add_(1)
    return F.conv2d(a, weight) + c


def to_an_addend(x, weight):
    z = torch.ones_like(x)
    y = F.conv2d(x, weight) + z
    z.mul_(2)
    return F.conv2d(y, weight)


WRITES = {
    "in a function": lambda x, weight: F.conv2d(Clamp.apply(normalised(x)), weight),
    "to rows in another order": lambda x, weight: F.conv2d(normalised(x).transpose(2, 3).relu_(), weight),
} | {
    function.__name__.replace("_", " "): function
    for function in (
        under_no_grad,
        by_out,
        under_hooks_of_others,
        of_several_at_once,
        to_some_channels,
        to_a_slice_of_which_another_is_used,
        from_one_half_to_the_other,
        to_what_a_result_started_from,
        to_an_addend,
    )
}
VIEWS = {
    "conjugate": lambda y: y.conj() * y.sin(),
    "as real": lambda y: torch.view_as_real(y).square().sum(-1),
    "imaginary part": lambda y: y.imag.sin() * y.real,
}


def gradients(function, enable, macs=0):
    torch.manual_seed(0)
    x = torch.randn(2, 4, 6, 6, dtype=torch.double)
    first, second = (torch.randn(4, 4, 1, 1, dtype=torch.double, requires_grad=True) for _ in range(2))
    with dla.recomputing(enable, macs=macs):
        out = function(F.conv2d(x, first), second)
    return torch.autograd.grad(out.square().sum(), [first, second])


@pytest.mark.parametrize("macs", [0, 64])
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_what_is_written_within(write, macs):
    for plain, efficient in zip(gradients(write, False), gradients(write, True, macs), strict=True):
        assert plain.norm() > 1e-6
        torch.testing.assert_close(efficient, plain, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_complex_numbers(view):
    def gradient(enable):
        x = torch.linspace(-1, 1, 12, dtype=torch.double).view(2, 6).requires_grad_()
        with dla.recomputing(enable):
            out = view(torch.complex(x, 2 * x) * x[0, 0])
        return torch.autograd.grad(out.abs().square().sum(), x)[0]

    torch.testing.assert_close(gradient(True), gradient(False), rtol=1e-12, atol=1e-12)


def test_sparse_and_inference_tensors():
    weight = torch.randn(4, 4, dtype=torch.double, requires_grad=True)
    with torch.inference_mode():
        constant = torch.ones(4, 4, dtype=torch.double)

    def gradient(enable):
        with dla.recomputing(enable):
            out = torch.sparse.mm(torch.eye(4, dtype=torch.double).to_sparse() * 2, F.relu(weight * weight + constant))
        return torch.autograd.grad(out.square().sum(), weight)[0]

    torch.testing.assert_close(gradient(True), gradient(False), rtol=1e-12, atol=1e-12)


def test_where_hooks_are_not_allowed_it_does_nothing():
    model = dla.create_model("dla46_c", num_classes=3)
    with torch.autograd.graph.disable_saved_tensors_hooks("none here"):
        model(torch.randn(2, 3, 64, 64)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_parameters_that_are_freed_are_an_error():
    norm = nn.BatchNorm2d(4)
    weight = torch.randn(4, 4, 1, 1, requires_grad=True)
    with dla.recomputing():
        out = F.conv2d(norm(F.conv2d(torch.randn(2, 4, 5, 5), weight)), weight)
    norm.weight.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match=r"shape \(4,\).* was freed before it, as FSDP frees parameters: keep all"):
        out.sum().backward()


def test_what_does_not_train_keeps_nothing():
    """A frozen network whose forward pass runs without `torch.no_grad`."""
    model = dla.create_model("dla46_c", num_classes=3).requires_grad_(False)
    recording = Recording(macs=64)
    with torch.autograd.graph.saved_tensors_hooks(recording.pack, lambda packed: packed.take()), recording:
        model(torch.randn(2, 3, 64, 64))
        assert not recording.notes.places
        model.requires_grad_()
        model(torch.randn(2, 3, 64, 64))
        assert recording.notes.places


class SyncNorm(torch.autograd.Function):
    """Batch norm over several processes ends in this operation, which only a GPU has."""

    @staticmethod
    def forward(ctx, x):
        return torch.batch_norm_elemt(x, None, None, x.mean((0, 2, 3)), torch.ones(x.shape[1], dtype=x.dtype), 1e-5)

    @staticmethod
    def backward(ctx, gradient):
        return gradient - gradient.mean((0, 2, 3), keepdim=True)


def test_batch_norm_over_several_processes():
    """Its result comes of a function, where gradients are off, and is computed again all the same."""
    again = []

    def on_the_processor(x, weight, bias, mean, inverse_std, eps):
        again.append(x.shape)
        return (x - mean.view(-1, 1, 1)) * inverse_std.view(-1, 1, 1)

    def function(x, weight):
        return F.conv2d(F.relu(SyncNorm.apply(x)), weight)

    with torch.library._scoped_library("aten", "IMPL") as library:
        library.impl("batch_norm_elemt", on_the_processor, "CPU")
        plain, efficient = gradients(function, False), gradients(function, True)
    assert len(again) == 3  # twice forward, and once again
    for a, b in zip(plain, efficient, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
