"""Training in less memory: what convolutions give is kept for the backward pass, what is cheap to compute is not."""

from dla.recompute.recomputed import efficient, memory_efficient, recomputed
from dla.recompute.recording import recomputing

__all__ = ["efficient", "memory_efficient", "recomputed", "recomputing"]
