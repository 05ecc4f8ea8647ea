"""torchvision's detectors on one aggregated map: a step of training, and detections of images of any size."""

import pytest
import torch
from torchvision.models.detection import FasterRCNN, KeypointRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign

import dla

SIZES = {"min_size": 64, "max_size": 96}
IMAGES = [(64, 80), (57, 75)]
CLASSES = 3


def backbone(structure="ida"):
    return dla.aggregate("dla46_c", structure=structure, out_channels=32, out_stride=4)


def anchors():
    return AnchorGenerator(sizes=((8, 16, 32),), aspect_ratios=((0.5, 1.0, 2.0),))


def faster_rcnn(fused):
    pool = MultiScaleRoIAlign(["0"], output_size=7, sampling_ratio=2)
    return FasterRCNN(fused, CLASSES, rpn_anchor_generator=anchors(), box_roi_pool=pool, **SIZES)


def retinanet(fused):
    return RetinaNet(fused, CLASSES, anchor_generator=anchors(), **SIZES)


def keypoint_rcnn(fused):
    pool = MultiScaleRoIAlign(["0"], output_size=7, sampling_ratio=2)
    points = MultiScaleRoIAlign(["0"], output_size=14, sampling_ratio=2)
    # torchvision's own head of keypoints, narrower than its default, which takes half a minute here.
    return KeypointRCNN(
        fused,
        CLASSES,
        rpn_anchor_generator=anchors(),
        box_roi_pool=pool,
        keypoint_roi_pool=points,
        keypoint_head=KeypointRCNNHeads(32, (16, 16)),
        keypoint_predictor=KeypointRCNNPredictor(16, 2),
        box_detections_per_img=5,
        **SIZES,
    )


def batch():
    """Two images with a box each, and two keypoints in it."""
    target = {
        "boxes": torch.tensor([[10.0, 12.0, 40.0, 44.0]]),
        "labels": torch.tensor([1]),
        "keypoints": torch.tensor([[[20.0, 20.0, 1.0], [30.0, 35.0, 1.0]]]),
    }
    return [torch.rand(3, *size) for size in IMAGES], [dict(target) for _ in IMAGES]


@pytest.mark.parametrize("structure", ["ida", "dla_up"])
@pytest.mark.parametrize("detector", [faster_rcnn, retinanet, keypoint_rcnn])
def test_detectors_train_a_step(detector, structure):
    torch.manual_seed(0)
    model = detector(backbone(structure))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    before = model.backbone.backbone.body.stem[0][0].weight.detach().clone()
    losses = model(*batch())
    total = sum(losses.values())
    assert torch.isfinite(total)
    total.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    optimizer.step()
    assert not torch.equal(model.backbone.backbone.body.stem[0][0].weight, before)
    found = model.eval()(batch()[0])
    assert [result.keys() >= {"boxes", "labels", "scores"} for result in found] == [True, True]
