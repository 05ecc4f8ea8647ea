"""Averages over scales, mirror images and windows agree with the plain softmax where they must."""

import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

import dla
from dla.inference import (
    WHOLE,
    WINDOW,
    fitting_window,
    model_runs,
    predict_classes,
    predict_probabilities,
    predict_strips,
    scaled,
    views,
)

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"))]


@pytest.fixture(scope="module")
def pointwise() -> nn.Module:
    """Sees one pixel at a time, so neither windows nor mirrors can change its result."""
    torch.manual_seed(0)
    return nn.Conv2d(3, 5, 1).eval()


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return dla.create_model("dla46_cida", num_classes=6).eval()


def images(height: int, width: int, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


def test_one_scale_is_the_plain_softmax(network):
    batch = images(65, 70)
    with torch.inference_mode():
        expected = network(batch).softmax(1)
    torch.testing.assert_close(predict_probabilities(network, batch), expected)


@pytest.mark.parametrize(("window", "overlap"), [(32, 0.5), (17, 0.3), (20, 0.0), (33, 0.9), (64, 0.5), (1, 0.0)])
def test_windows_change_nothing_for_a_pointwise_model(pointwise, window, overlap):
    batch = images(41, 67)
    blended = predict_probabilities(pointwise, batch, window=window, overlap=overlap)
    torch.testing.assert_close(blended, predict_probabilities(pointwise, batch), rtol=0, atol=1e-6)


def test_windows_do_not_wait_for_each_other(waits):
    model, batch = nn.Conv2d(3, 5, 1, device="cuda").eval(), torch.empty(1, 3, 41, 67, device="cuda")
    assert predict_probabilities(model, batch, window=16, flip=True).device == batch.device
    assert waits == []
    batch.cpu()
    assert len(waits) == 1  # so it would have been seen


def test_weights_of_windows_are_waited_for_where_they_would_be_gone(unawaited):
    model, batch = nn.Conv2d(3, 5, 1, device="meta").eval(), torch.empty(1, 3, 41, 67, device="meta")
    assert predict_probabilities(model, batch, window=16).device == batch.device
    assert unawaited == []


def test_mirror_images_change_nothing_for_a_symmetric_model(pointwise):
    batch = images(31, 29)
    torch.testing.assert_close(
        predict_probabilities(pointwise, batch, flip=True, scales=(0.5, 1)),
        predict_probabilities(pointwise, batch, scales=(0.5, 1)),
    )


def test_the_mirror_image_is_turned_back(network):
    batch = images(64, 96)
    both = predict_probabilities(network, batch, flip=True)
    torch.testing.assert_close(predict_probabilities(network, batch.flip(-1), flip=True), both.flip(-1))
    assert not torch.allclose(both, predict_probabilities(network, batch))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", [(65, 70), (33, 1), (7, 90)])
def test_probabilities_sum_to_one_at_any_size(network, size, device):
    batch = images(*size).to(device)
    result = predict_probabilities(network.to(device), batch, scales=(0.5, 0.75, 1, 1.5), flip=True, window=48)
    network.to("cpu")
    assert result.shape == (2, 6, *size)
    assert result.device == batch.device
    torch.testing.assert_close(result.sum(1), torch.ones(2, *size, device=device))


@pytest.mark.parametrize(
    ("options", "cut"),
    [
        ({"flip": True}, True),
        ({"overlap": 0.8}, True),
        ({"scales": (1, 0.5)}, False),
        ({"window": None}, False),
        ({"scales": (0.3, 0.9), "flip": True}, True),
        ({"scales": (0.3,), "window": None}, True),
    ],
)
def test_strips_are_the_whole(network, options, cut, monkeypatch):
    monkeypatch.setattr(views, "ROWS", 40)
    batch, options = images(101, 70), {"window": 48, **options}
    strips = list(predict_strips(network, batch, **options))
    torch.testing.assert_close(torch.cat(strips, 2), predict_probabilities(network, batch, **options), rtol=0, atol=0)
    heights = [strip.shape[2] for strip in strips]
    assert sum(heights) == 101
    assert (max(heights) <= 48 and len(heights) >= 3) if cut else heights == [101]


@pytest.mark.parametrize("scale", [0.21, 0.5, 0.99])
@pytest.mark.parametrize("size", [(101, 70), (1, 30), (97, 2)])
def test_strips_of_smaller_views_are_their_logits_resized(network, scale, size, monkeypatch):
    monkeypatch.setattr(views, "ROWS", 40)
    batch = images(*size)
    small = F.interpolate(batch, size=scaled(size, scale), mode="bilinear", antialias=True)
    with torch.no_grad():
        logits = F.interpolate(network(small), size=size, mode="bilinear", antialias=True)
    torch.testing.assert_close(predict_probabilities(network, batch, scales=(scale,)), logits.softmax(1))


class Largest(TorchDispatchMode):
    """Of the memory of every result."""

    nbytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.nbytes = max(self.nbytes, out.untyped_storage().nbytes())
        return out


def test_strips_never_hold_the_whole():
    model, batch = nn.Conv2d(3, 40, 1).eval(), torch.zeros(1, 3, 640, 48)
    with Largest() as largest:
        for strip in predict_strips(model, batch, window=32, flip=True):
            assert strip.shape[2] <= 32
    assert largest.nbytes == batch[:, :1].nbytes * max(3, 40 * 32 / 640)  # the images, mirrored


def test_strips_of_smaller_views_never_hold_the_whole():
    model, batch = nn.Conv2d(3, 40, 1).eval(), torch.zeros(1, 3, 2048, 128)
    with Largest() as largest:
        for strip in predict_strips(model, batch, scales=(0.25,), flip=True):
            assert strip.shape[2] <= views.ROWS
    assert largest.nbytes == 40 * views.ROWS * 128 * 4  # a strip; the whole is eight


class Kept(TorchDispatchMode):
    """How many maps a model took or gave, and made for it alone, are there whenever probabilities are made."""

    def __init__(self, model: nn.Module, images: torch.Tensor) -> None:
        super().__init__()
        self.maps, self.counts = [], []

        def note(_, inputs, logits):
            self.maps += [weakref.ref(maps) for maps in (*inputs, logits) if maps is not images]

        model.register_forward_hook(note)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if "softmax" in str(func):
            self.counts.append(sum(maps() is not None for maps in self.maps))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"flip": True}, [1, 1]),  # the logits; of the mirror image, which has copies of them, that image
        ({"scales": (0.5, 2), "flip": True}, [0] * 4),
        ({"scales": (0.5, 2), "window": 16}, [0] * 2),
    ],
)
def test_views_are_gone_before_the_next(options, expected):
    model, batch = nn.Conv2d(3, 5, 1).eval(), images(32, 32)
    with Kept(model, batch) as kept:
        predict_probabilities(model, batch, **options)
    assert kept.counts == expected


@pytest.mark.parametrize(
    "options", [{}, {"window": 32}, {"window": 32, "overlap": 0.7, "scales": (0.5, 1, 2), "flip": True}]
)
def test_how_often_the_model_runs(pointwise, options):
    ran = []
    hook = pointwise.register_forward_hook(lambda *_: ran.append(1))
    predict_probabilities(pointwise, images(101, 70), **options)
    hook.remove()
    assert model_runs(101, 70, **{"scales": (1,), "flip": False, "window": None, **options}) == len(ran)


def test_a_scale_keeps_smooth_images_in_place(pointwise):
    ramp = torch.linspace(-1, 1, 60).expand(1, 3, 40, 60)
    plain = predict_probabilities(pointwise, ramp)
    for scale in (0.5, 1.5, 2.0):
        scaled = predict_probabilities(pointwise, ramp, scales=(scale,))
        torch.testing.assert_close(scaled[..., 4:-4], plain[..., 4:-4], rtol=0, atol=2e-3)


def test_the_model_sees_the_whole_image_at_each_scale():
    seen = []
    model = nn.Conv2d(3, 2, 1).eval()
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    lines = torch.zeros(1, 3, 32, 48)
    lines[..., ::4] = 1  # none of which would be left at a quarter of the size without antialiasing
    predict_probabilities(model, lines, scales=(0.25, 1, 1.5))
    assert [tuple(view.shape[-2:]) for view in seen] == [(8, 12), (32, 48), (48, 72)]
    assert [view.mean().item() for view in seen] == pytest.approx([0.25] * 3, abs=0.02)


def test_the_largest_scale_decides_whether_an_image_is_seen_whole():
    assert fitting_window((1, WHOLE), (0.5, 1), None) is None
    assert fitting_window((1, WHOLE), (2, 0.5, 1), None) == WINDOW


@pytest.mark.parametrize(("classes", "dtype"), [(256, torch.uint8), (257, torch.int64)])
def test_classes_take_8_bits_where_they_fit(classes, dtype):
    model = nn.Conv2d(3, classes, 1).eval()
    nn.init.zeros_(model.weight)
    model.bias.data = torch.arange(float(classes))
    found = predict_classes(model, images(3, 2))
    assert found.dtype == dtype
    assert (found == classes - 1).all()


def test_scales_are_averaged_with_equal_weight(network):
    batch = images(64, 64)
    parts = [predict_probabilities(network, batch, scales=(scale,)) for scale in (0.5, 1.25)]
    torch.testing.assert_close(predict_probabilities(network, batch, scales=(0.5, 1.25)), sum(parts) / 2)


def test_an_image_does_not_depend_on_its_batch(network):
    batch = images(70, 50, batch=3)
    together = predict_probabilities(network, batch, window=32, flip=True)
    torch.testing.assert_close(together[1:2], predict_probabilities(network, batch[1:2], window=32, flip=True))


def test_windows_of_a_network_come_close_to_the_whole_image(network):
    ramp = torch.linspace(-1, 1, 224)
    batch = (ramp[:, None] * ramp).expand(1, 3, 224, 224) + 0.3 * images(224, 224, batch=1)
    whole = predict_probabilities(network, batch)
    windows = predict_probabilities(network, batch, window=160)
    assert (whole - windows).abs().mean() < 0.05
    assert (whole.argmax(1) == windows.argmax(1)).float().mean() > 0.7


def test_an_image_smaller_than_the_window_is_taken_whole():
    seen = []
    model = nn.Conv2d(3, 2, 1).eval()
    model.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[-2:])))
    predict_probabilities(model, images(20, 100), window=64)
    assert set(seen) == {(20, 64)}


def test_half_precision_is_averaged_in_single_precision(pointwise):
    result = predict_probabilities(nn.Sequential(pointwise, ToHalf()).eval(), images(20, 20), window=10)
    assert result.dtype == torch.float32


class ToHalf(nn.Module):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps.half()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": ()}, "scales must be one or more positive numbers"),
        ({"scales": (1.0, 0.0)}, "scales must be"),
        ({"scales": (float("nan"),)}, "scales must be"),
        ({"scales": (float("inf"),)}, "scales must be"),
        ({"window": 0}, "window must be at least 1 pixel, not 0"),
        ({"overlap": 1.0}, "overlap must be at least 0 and below 1"),
        ({"overlap": -0.1}, "overlap must be at least 0 and below 1"),
    ],
)
def test_arguments_out_of_range_are_refused(pointwise, options, message):
    with pytest.raises(ValueError, match=message):
        predict_probabilities(pointwise, images(8, 8), **options)


def test_a_model_in_training_mode_is_refused():
    with pytest.raises(ValueError, match=r"call model.eval\(\) first"):
        predict_probabilities(nn.Conv2d(3, 2, 1).train(), images(8, 8))


def test_a_model_that_changes_the_size_is_refused():
    with pytest.raises(ValueError, match="at the size of its input"):
        predict_probabilities(nn.Conv2d(3, 2, 1, stride=2).eval(), images(8, 8))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_scales_in_half_precision(dtype):
    model = nn.Conv2d(3, 4, 1)
    images = torch.rand(1, 3, 12, 17)
    options = {"scales": (0.75, 1.5), "flip": True}
    expected = predict_probabilities(model.eval(), images, **options)
    found = predict_probabilities(model.to(dtype), images.to(dtype), **options)
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=0.02)


def test_the_probabilities_are_made_once():
    logits = torch.randn(1, 16, 64, 64)
    model = nn.Module().eval()
    model.forward = lambda _: logits
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        predict_probabilities(model, torch.zeros(1, 3, 64, 64))
    made = sum(max(0, event.self_cpu_memory_usage) for event in profiled.key_averages())
    assert logits.nbytes <= made < 1.5 * logits.nbytes


def test_strips_have_no_history_and_leave_others_theirs(network):
    strips = predict_strips(network, images(101, 70), window=48)
    first = next(strips)
    assert first.is_inference()
    assert not torch.is_inference_mode_enabled()
    assert all(strip.is_inference() for strip in strips)
