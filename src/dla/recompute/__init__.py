"""Training in less memory: what convolutions give is kept for the backward pass, what is cheap to compute is not."""

from dla.recompute.recording import efficient, recomputing

__all__ = ["efficient", "recomputing"]
