"""The two contracts of deep aggregation: iterative wraps maps, hierarchical wraps blocks, of any backbone."""

import timm
import torch

import dla

torch.manual_seed(0)
images = torch.randn(2, 3, 250, 333)

# IDA fuses the maps of ConvNeXt, which stays as it is; pretrained=True takes timm's weights.
fused = dla.aggregate("convnext_tiny", structure="ida", out_channels=64)
print("IDA ", tuple(fused(images).shape), [tuple(spec) for spec in fused.backbone.feature_specs])

# The same with a head: logits of every pixel, at the images' own size.
model = dla.create_model("convnext_tiny+ida", num_classes=11)
print("head", tuple(model(images).shape), f"{sum(p.numel() for p in model.decoder.parameters()):,} parameters added")

# HDA fuses blocks, here the nine of ConvNeXt's third stage, in a merged tree: 9 = 8 + 1.
blocks = list(timm.create_model("convnext_tiny").stages[2].blocks)
stage = dla.HierarchicalAggregation(blocks, 384, structure="merged")
print("HDA ", tuple(stage(torch.randn(2, 384, 16, 21)).shape), f"{len(stage.blocks)} blocks, {len(stage.nodes)} nodes")

# IDA  (2, 64, 63, 84) [(96, 4), (192, 8), (384, 16), (768, 32)]
# head (2, 11, 250, 333) 335,744 parameters added
# HDA  (2, 384, 16, 21) 9 blocks, 5 nodes
