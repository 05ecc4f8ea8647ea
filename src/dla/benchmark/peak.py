"""What the machine does at best: a product of large matrices, and a copy."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dla.machine import now

MATRIX, COPY = 2048, 2**26  # numbers: side of the matrices at most, length of what is copied


def peak(device: str, dtype: torch.dtype) -> tuple[list[Callable[[], Any]], dict[str, Any]]:
    """A product and a copy, to be timed; and how many floating-point operations and bytes they are."""
    side = _side(device, dtype)
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    source = torch.ones(COPY, device=device)
    target = torch.empty_like(source)
    calls: list[Callable[[], Any]] = [_product(a, b), lambda: target.copy_(source)]
    return calls, {"flops": 2 * side**3, "bytes": 2 * source.nbytes}


def _product(a: Tensor, b: Tensor) -> Callable[[], Tensor]:
    """By the faster of two libraries: on AMD's processors MKL leaves out AVX-512, oneDNN, which convolves, does not."""
    mkl = partial(torch.mm, a, b, out=torch.empty_like(a))
    if a.is_cuda or a.dtype != torch.float32 or not torch.backends.mkldnn.is_available():
        return mkl
    return min(mkl, partial(F.linear, a.to_mkldnn(), b.to_mkldnn()), key=_seconds)


def _side(device: str, dtype: torch.dtype) -> int:
    """Of the matrices: large, but not where a processor emulates the type, so that a large product takes minutes."""
    side = MATRIX // 8
    while side < MATRIX:
        a = torch.randn(side, side, device=device, dtype=dtype)
        if _seconds(partial(torch.mm, a, a)) > 0.1:  # the next has eight times as much to do
            break
        side *= 2
    return side


def _seconds(call: Callable[[], Tensor]) -> float:
    device = call().device  # the first call prepares
    start = now(device)
    call()
    return now(device) - start
