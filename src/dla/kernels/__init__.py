"""Triton kernels for what PyTorch's own do badly on a GPU.

    rows        convolutions of maps with few channels, and the gradient of their weights
    maps        nodes that concatenate nothing, and pooling
    image_conv  a `Conv2d` that takes the former for images, in training too

Files named `_kernel` hold what runs on the GPU; those named without it, the calls.
"""
