"""Whether a run's precision suits its images, and the machine."""

import torch
from torch import Tensor


def check_precision(precision: str, images: Tensor, stem_stride: int) -> None:
    """Refuse images so small that the last strided convolution of a network in bfloat16 sees a map 1 pixel wide.

    There, oneDNN (in torch 2.14) leaves what was in memory as the gradient of the weights beside the kernel's centre.

    Args:
        precision: of the trainer, such as "bf16-mixed".
        images: (b, 3, h, w).
        stem_stride: of the network; its last strided convolution sees the image at 4 times this stride.

    Raises:
        ValueError: it names the size and what to do.
    """
    height, width = images.shape[-2:]
    small = 4 * stem_stride
    if precision.startswith("bf16") and images.device.type == "cpu" and min(height, width) <= small:
        raise ValueError(
            f"images of {height} x {width} in {precision} on a CPU: torch gives wrong gradients for them; take larger "
            f"images, above {small} pixels on each side, or --trainer.precision=32-true"
        )


def slow_precision(precision: str, device: torch.device) -> str | None:
    """That a processor or a GPU without bfloat16 trains in it; None where it does not, or has it.

    On such a processor, torch computes convolutions without oneDNN, which takes several times as long as in float32; on
    such a GPU, as of the generations before Ampere, without the matrix units, which have float16.
    """
    if not precision.startswith("bf16"):
        return None
    if device.type == "cpu" and not has_bfloat16():
        return (
            f"this processor has no bfloat16, so that {precision} takes several times as long as float32: "
            "--trainer.precision=32-true is quicker here"
        )
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return f"this GPU has no bfloat16, which {precision} imitates: --trainer.precision=16-mixed is quicker here"
    return None


def has_bfloat16() -> bool:
    """Whether oneDNN computes in bfloat16 on this processor, which it does with AVX-512 or Arm's bf16."""
    return not torch.backends.mkldnn.is_available() or torch.ops.mkldnn._is_mkldnn_bf16_supported()
