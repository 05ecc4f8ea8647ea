"""Names of networks are taken apart and put together again."""

import pytest

from dla.names import Name, meant, parse


@pytest.mark.parametrize(
    ("name", "parts", "untagged"),
    [
        ("dla34", ("", "dla34", "", ""), "dla34"),
        ("dla46_cup.camvid", ("", "dla46_cup", "camvid", ""), "dla46_cup"),
        ("timm/resnet34.a1_in1k", ("timm", "resnet34", "a1_in1k", ""), "timm/resnet34"),
        ("convnext_tiny.fb_in1k+ida", ("", "convnext_tiny", "fb_in1k", "ida"), "convnext_tiny+ida"),
        ("dla46_c.cifar10+dla_up", ("", "dla46_c", "cifar10", "dla_up"), "dla46_c+dla_up"),
        ("convnext_tiny+ida.camvid", ("", "convnext_tiny", "", "ida", "camvid"), "convnext_tiny+ida"),
        ("+ida", ("", "", "", "ida"), "+ida"),
        ("", ("", "", "", ""), ""),
    ],
)
def test_parts_of_names(name, parts, untagged):
    assert parse(name) == Name(*parts)
    assert str(parse(name)) == name
    assert parse(name).untagged == untagged


def test_names_without_a_part_keep_the_others():
    assert parse("convnext_tiny.fb_in1k+ida").backbone == "convnext_tiny.fb_in1k"
    assert parse("convnext_tiny.fb_in1k+ida.camvid").backbone == "convnext_tiny.fb_in1k"
    assert parse("timm/resnet34.a1_in1k").inner == "resnet34.a1_in1k"


def test_names_that_name_weights():
    assert [parse(name).weighted for name in ("dla34", "dla34.in1k", "a+ida", "a.b+ida", "a+ida.c")] == [0, 1, 0, 1, 1]


def test_names_like_an_unknown_one_are_proposed():
    names = ["resnet18", "dla34up", "dla34"]
    assert meant("dla35", names) == "; did you mean dla34 or dla34up?"
    assert meant("vgg", names) == ""
