"""What a network costs, counted and not measured: learned numbers, multiply-accumulates, memory in training."""

from dla.costs.macs import macs, parameters
from dla.costs.memory import recomputes, training_memory

__all__ = ["macs", "parameters", "recomputes", "training_memory"]
