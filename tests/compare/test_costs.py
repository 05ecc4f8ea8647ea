"""Costs are those of the networks themselves, and widths are found at which parameters agree."""

import pytest

import dla
from dla.compare.costs import costs, matched, matched_width
from dla.compare.study import read_study
from dla.costs import macs, training_memory
from dla.tasks import ClassificationTask


def test_costs_are_those_of_the_real_network(study):
    model = dla.create_model("dla34", num_classes=10, width=0.125, stem_stride=2)
    counted = costs(study.rows[1], study)
    assert counted.parameters == sum(p.numel() for p in model.parameters())
    assert counted.macs > counted.parameters  # each weight of a convolution works at several places
    assert counted.memory == training_memory(
        lambda: dla.create_model("dla34", num_classes=10, width=0.125, stem_stride=2), (16, 16)
    )


def test_images_have_the_channels_that_options_say(content, write):
    content["model"]["init_args"]["options"]["in_chans"] = [3, 2]
    of_bands = read_study(write(content))
    counted = costs(of_bands.rows[1], of_bands)
    model = dla.create_model("dla34", num_classes=10, width=0.125, stem_stride=2, in_chans=(3, 2)).eval()
    assert counted.macs == macs(model, (16, 16))
    assert counted.memory > 0


def test_widths_are_found(study):
    found = matched(study)
    plain, reference = (costs(row, found) for row in found.rows)
    assert found.rows[1] == study.rows[1]
    assert found.rows[0].options["width"] > 0.125  # without nodes there is room for wider blocks
    assert abs(plain.parameters / reference.parameters - 1) <= 0.03


def test_a_row_that_cannot_agree(content, write):
    content["match"]["tolerance"] = 1e-6
    with pytest.raises(ValueError, match=r"row plain has [+-]\d\.\d%.* of dla at best, at width 0\.1\d+; .* is 0%"):
        matched(read_study(write(content)))


def test_a_row_that_only_a_width_out_of_the_search_would_fit(content, write):
    content["rows"]["plain"] = {"network": "dla46_c"}  # at twice the width still smaller
    message = r"plain has -\d+\.\d% .* at width 0\.2499; .* widths from 0\.0625 to 0\.25 are searched, .* that of dla$"
    with pytest.raises(ValueError, match=message):
        matched(read_study(write(content)))


@pytest.mark.parametrize("network", ["timm/resnet10t", "test_resnet+ida"])
def test_rows_of_others_have_no_width(content, write, network):
    content["rows"]["plain"] = {"network": network}
    with pytest.raises(ValueError, match=r"row plain: .* has no width to search, .* leave out the row, or match"):
        matched(read_study(write(content)))


def test_options_that_a_task_has_too_are_counted(content, write):
    frugal = read_study(write(content))
    content["rows"]["dla"]["options"] |= {"drop_path_rate": 0.1, "memory_efficient": False}
    lavish = read_study(write(content))
    kept, again = costs(lavish.rows[1], lavish), costs(frugal.rows[1], frugal)
    assert kept.memory > again.memory
    assert (kept.recomputes, again.recomputes) == (False, True)


@pytest.mark.parametrize("argument", [{"memory_efficient": False}, {"grad_checkpointing": True}])
def test_memory_is_that_of_what_the_task_trains(content, write, argument):
    plain = read_study(write(content))
    content["model"]["init_args"] |= argument
    content["rows"]["dla"]["options"]["memory_efficient"] = None  # which is as if it were not given
    study = read_study(write(content))
    task = ClassificationTask(network="dla34", num_classes=10, options=study.rows[1].options, **argument)
    counted = costs(study.rows[1], study).memory
    assert counted == pytest.approx(training_memory(lambda: task.model, (16, 16)), rel=1e-3)
    assert counted != costs(plain.rows[1], plain).memory


@pytest.fixture
def checkpointed(content, write):
    """A study of one network of others, with gradient checkpointing."""

    def checkpointed(network):
        del content["match"]
        content["model"]["init_args"] = {"grad_checkpointing": True}
        return read_study(write(content | {"image_size": 32, "rows": {"theirs": {"network": network}}}))

    return checkpointed


@pytest.mark.parametrize(
    ("network", "message"),
    [("torchvision/squeezenet1_1", "torchvision's networks have no"), ("timm/vgg11", "gradient checkpointing not")],
)
def test_a_row_that_cannot_checkpoint_is_named(checkpointed, network, message):
    study = checkpointed(network)
    with pytest.raises(ValueError, match=f"^row theirs: {message}"):
        costs(study.rows[0], study)


def test_a_network_that_knows_no_checkpointing_is_counted(checkpointed, monkeypatch):
    """As one of one's own in timm; the run says that it cannot."""
    study = checkpointed("torchvision/squeezenet1_1")
    monkeypatch.delattr("dla.models.peers.Torchvision.set_grad_checkpointing")
    assert costs(study.rows[0], study).macs > 0


@pytest.mark.parametrize(("network", "recomputes"), [("timm/test_resnet", False), ("test_resnet+ida", True)])
def test_rows_of_others_say_whether_they_recompute(content, write, network, recomputes):
    del content["match"]
    content["model"]["init_args"].pop("options")
    head = {"head": "classifier"} if recomputes else {}
    content["rows"] = {"theirs": {"network": network, "options": head}}
    study = read_study(write(content))
    assert costs(study.rows[0], study).recomputes is recomputes


def test_split_networks_say_which_widths_they_take(content, write):
    content["rows"]["plain"] = {"network": "dla46x_c"}
    with pytest.raises(ValueError, match=r"^row plain: a split block has a multiple of 32 channels, not \d+: of a"):
        matched(read_study(write(content)))


def test_nothing_to_match(content, write):
    del content["match"]
    study = read_study(write(content))
    assert matched(study) is study


@pytest.mark.parametrize("target", [57, 60, 64, 79])
def test_the_nearest_width(target):
    """Counts go in steps of 8 here; what is found is on the step nearest to the target."""
    count = lambda width: 8 * int(10 * width)  # noqa: E731
    width = matched_width(count, target, start=0.8)
    assert abs(count(width) - target) == min(abs(8 * n - target) for n in range(20))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"network": "dla35"}, "row bad: unknown model 'dla35'"),
        ({"network": "timm/resnet34", "options": {"structure": "plain"}}, "row bad: .*structure"),
        ({"network": "dla34", "options": {"structure": "twig"}}, "row bad: structure must be one of"),
        (
            {"network": "dla46_c", "options": {"features_only": True}},
            "row bad: dla46_c gives a list of two images .* name a classifier such as dla34, without features_only",
        ),
        (
            {"network": "test_resnet+ida", "options": {"stem_stride": None}},
            r"row bad: test_resnet\+ida gives \(2, 10, 16, 16\) .* logits \(2, 10\) .* options: {head: classifier}",
        ),
        (
            {"network": "timm/test_vit", "options": {"stem_stride": 4, "dynamic_img_size": False}},
            r"row bad: timm/test_vit fails on images \(2, 3, 16, 16\): Input height \(16\)",
        ),
    ],
)
def test_a_row_that_cannot_be_compared_is_named(content, write, row, message):
    del content["match"]
    content["rows"] = {"bad": row}
    study = read_study(write(content))
    with pytest.raises(ValueError, match=message):
        costs(study.rows[0], study)


def test_a_dense_study_asks_for_logits_of_every_pixel(content, write):
    del content["match"]
    content["model"] = {"class_path": "dla.tasks.SegmentationTask", "init_args": {}}
    content["rows"] = {
        "fused": {"network": "test_resnet+ida"},
        "whole": {"network": "dla34", "options": {"width": 0.1}},
    }
    study = read_study(write(content))
    assert costs(study.rows[0], study).parameters > 0
    with pytest.raises(ValueError, match=r"gives \(2, 10\) .* \(2, 10, 16, 16\) .* a dense predictor such as dla34up"):
        costs(study.rows[1], study)
