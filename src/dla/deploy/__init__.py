"""Trained networks in the engine that runs them fastest: `optimize`, and a module per runtime that writes and loads.

fast = dla.deploy.optimize(model, engine="openvino", example=torch.randn(1, 3, 224, 224))
logits = fast(images)
"""

from dla.deploy.engines import ENGINES, Deployed, optimize
from dla.deploy.errors import DeployError
from dla.deploy.fold import folded
from dla.deploy.gpu import for_gpu

__all__ = ["ENGINES", "DeployError", "Deployed", "folded", "for_gpu", "optimize"]
