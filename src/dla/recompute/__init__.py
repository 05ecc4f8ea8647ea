"""Training in less memory: what convolutions give is kept for the backward pass, what is cheap to compute is not."""

from dla.recompute.recomputed import memory_efficient, recomputed, recomputes_on
from dla.recompute.recording import recomputing

__all__ = ["memory_efficient", "recomputed", "recomputes_on", "recomputing"]
