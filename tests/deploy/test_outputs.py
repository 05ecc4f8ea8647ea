"""What networks return, flat and back, and how two answers are compared."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import DataDependentOutputException
from torch.utils._python_dispatch import TorchDispatchMode

from dla.deploy import DeployError
from dla.deploy.outputs import TF32, TOLERANCE, check, difference, flat, like, names, tolerance_for

A, B = torch.tensor([1.0, -4.0]), torch.tensor([[2.0]])


class Maps(NamedTuple):
    heat: Tensor
    width: Tensor


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (A, ["output"]),
        ([A, B], ["output_0", "output_1"]),
        ((A, B), ["output_0", "output_1"]),
        (Maps(A, B), ["output_0", "output_1"]),
        ({"hm": A, "wh": B}, ["hm", "wh"]),
    ],
)
def test_every_form_comes_back(output, expected):
    assert names(output) == expected
    again = like(output, flat(output))
    assert type(again) is type(output)
    assert all(a is b for a, b in zip(flat(again), flat(output), strict=True))


@pytest.mark.parametrize(
    ("output", "kinds"),
    [([A, [B]], "Tensor, list"), (None, "NoneType"), ("text", "str"), ([], "an empty list"), ({}, "an empty dict")],
)
def test_what_is_no_tensor_is_refused(output, kinds):
    with pytest.raises(DeployError, match=f"returns {kinds}: a tensor, or a flat list"):
        flat(output)


def test_the_difference_is_in_the_largest_value_of_its_tensor():
    assert difference([A, B], [A + 0.4, B]) == pytest.approx(0.1)
    assert difference([100 * A, B], [100 * A, B - 0.5]) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("engine", "dtype", "expected"),
    [
        ("onnxruntime", torch.float32, TOLERANCE),
        ("tensorrt", torch.float32, TF32),
        ("eager", torch.float16, 1e-2),
        ("eager", torch.bfloat16, 5e-2),
        ("eager", torch.float64, TOLERANCE),
    ],
)
def test_tolerances(engine, dtype, expected):
    """Images for TensorRT lie on the processor, but it computes on a GPU."""
    assert tolerance_for(torch.empty(1, dtype=dtype), engine) == expected


@pytest.fixture
def tf32() -> Iterator[None]:
    """What is set of it is put back."""
    yield
    torch.backends.cudnn.allow_tf32 = True


@pytest.mark.usefixtures("tf32")
@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("allow_tf32", True, TF32),
        ("allow_tf32", False, TOLERANCE),
        ("conv.fp32_precision", "tf32", TF32),
        ("conv.fp32_precision", "ieee", TOLERANCE),
    ],
)
def test_a_gpu_may_be_told_not_to_use_tf32(setting, value, expected):
    owner = torch.backends.cudnn
    *path, name = setting.split(".")
    for part in path:
        if not hasattr(owner, part):
            pytest.skip("this torch does not have the setting")
        owner = getattr(owner, part)
    setattr(owner, name, value)
    with FakeTensorMode():
        example = torch.empty(1, device="cuda")
    assert tolerance_for(example, "eager") == expected


def test_nothing_differs_from_nothing_by_nothing():
    boxes = torch.zeros(0, 4)
    assert difference([boxes, B], [boxes, B + 0.5]) == pytest.approx(0.25)
    assert difference([boxes], [boxes]) == 0


def test_other_shapes_are_an_error():
    with pytest.raises(DeployError, match="shapes"):
        difference([A], [B])
    with pytest.raises(DeployError, match="shapes"):
        difference([A], [A, B])


def test_a_result_that_is_no_number_is_refused():
    check(difference([A], [A + 1e-5]), "here")
    for wrong in (A + 0.01, A * float("nan")):
        with pytest.raises(DeployError, match="here differs from the network by"):
            check(difference([A], [wrong]), "here")


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_what_is_equal_does_not_differ_whatever_it_is(number):
    masked = A.clone()
    masked.view(-1)[0] = number
    assert difference([masked], [masked.clone()]) == 0
    assert 0 < difference([masked], [masked + 1e-3]) < 1
    assert not difference([masked], [A]) < float("inf")


def test_imaginary_parts_and_large_whole_numbers_count():
    assert difference([torch.complex(A, A)], [torch.complex(A, -A)]) > 1
    assert difference([torch.tensor([2**24])], [torch.tensor([2**24 + 1])]) > 0


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_nan_counts_in_any_output(place):
    wrong = [A.clone(), B.clone(), A.clone()]
    wrong[place].view(-1)[0] = float("nan")
    with pytest.raises(DeployError, match="by nan"):
        check(difference([A, B, A], wrong), "here")


class Single(TorchDispatchMode):
    """A device without numbers of 64 bits, as Apple's GPUs are."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out.dtype == torch.float64 and out.device.type != "cpu":
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return out


def test_outputs_on_a_device_without_64_bits_are_compared():
    with FakeTensorMode(), Single():  # in which nothing is computed, so the number alone is missing
        output = torch.empty(3, device="cuda")
        with pytest.raises(DataDependentOutputException):
            difference([output], [output])
        with pytest.raises(TypeError):
            output.double()
