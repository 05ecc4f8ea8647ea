"""Give a trained network hierarchical aggregation within its stages, keep its function, and fine-tune it."""

import timm
import torch

import dla

plain = timm.create_model("resnet18", num_classes=10).eval()  # pretrained=True takes the weights of ImageNet
model = dla.rewire(plain, structure="hda+ida").eval()  # prints what the nodes add
images, labels = torch.randn(8, 3, 64, 64), torch.arange(8)
print(f"largest difference: {(model(images) - plain(images)).abs().max():.1e}")

optimizer = torch.optim.SGD(model.train().parameters(), lr=0.01, momentum=0.9)
for step in range(6):
    loss = torch.nn.functional.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"step {step}: loss {loss.item():.3f}")

fuse = dla.aggregate(model, structure="ida", out_channels=64)  # one map of all stages, such as for segmentation
print(tuple(fuse(images).shape))
