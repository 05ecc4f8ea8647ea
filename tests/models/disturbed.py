"""Networks that are not as they start."""

import torch

import dla


def disturb(model):
    """Random parameters and statistics, so that no branch is switched off and no norm is the identity."""
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.02 * torch.randn_like(p))
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(std=0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    return model.eval()


def disturbed(name, **options):
    """A network of `create_model`, the same at each call."""
    torch.manual_seed(0)
    return disturb(dla.create_model(name, **options))


def randomise(model, seed=0):
    """Random weights and random batch-norm statistics, so that a swapped norm or slice shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith("running_var"):
                value.uniform_(0.5, 2, generator=generator)
            elif value.is_floating_point() and value.ndim == 1:
                value.uniform_(-1, 1, generator=generator)
    return model.eval()
