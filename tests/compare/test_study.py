"""Studies are read strictly: whatever is missing, unknown or impossible is named."""

import re

import pytest

from dla.compare.study import Match, read_study


def test_a_study(content, write):
    study = read_study(write(content))
    assert [(row.name, row.label, row.network) for row in study.rows] == [
        ("plain", "chain", "dla34"),
        ("dla", "dla", "dla34"),
    ]
    assert study.rows[0].options == {"stem_stride": 2, "structure": "plain"}  # the shared ones and its own
    assert study.match == Match("dla", 0.03)
    assert (study.epochs, study.seeds, study.target) == (2, (0, 1), 50)


def test_a_row_overrides_a_shared_option(content, write):
    content["rows"]["plain"]["options"]["stem_stride"] = 1
    assert read_study(write(content)).rows[0].options["stem_stride"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("seeds"), "a study lacks seeds"),
        (lambda c: c.update(epochs=3), "a study has no epochs; it has"),
        (lambda c: c["rows"]["dla"].update(lr=1), "row dla has no lr; it has"),
        (lambda c: c["rows"]["dla"].pop("network"), "row dla lacks network"),
        (lambda c: c["rows"].update({"a/b": {"network": "dla34"}}), "'a/b' names a folder"),
        (lambda c: c.update(rows=[]), "rows is a mapping"),
        (lambda c: c.update(seeds=[0, 0]), r"seeds is \[0, 0\]; expected a list of different"),
        (lambda c: c.update(seeds=0), "seeds is 0"),
        (lambda c: c.update(target=120), "target is 120; expected a number of percent"),
        (lambda c: c.update(classes=0), "classes is 0; expected a whole number"),
        (lambda c: c["trainer"].pop("max_epochs"), "trainer.max_epochs is None"),
        (lambda c: c.update(trainer=3), "trainer is 3; expected a mapping"),
        (lambda c: c["model"]["init_args"].update(network="dla34"), "init_args has network, which all rows"),
        (lambda c: c["data"].update(class_path=5), r"data\.class_path is 5; expected a class such as dla\.data"),
        (lambda c: c["trainer"].update(limit_val_batches=0), "no run would be measured"),
        (lambda c: c["trainer"].update(max_steps=9), "trainer.max_steps is 9, but a study's budget is max_epochs"),
        (lambda c: c["rows"]["dla"].update(label="chain"), "two rows have the label 'chain', by which"),
        (lambda c: c["model"].update(class_path="nowhere.Task"), "nowhere.Task, but nowhere cannot be imported"),
        (lambda c: c["model"].update(class_path="dla.tasks.Taks"), "dla.tasks cannot be imported or has no Taks"),
        (
            lambda c: c["model"].update(class_path="dla.data.CIFARData"),
            "class_path names .*CIFARData.*; expected a task",
        ),
        (lambda c: c["trainer"].update(logger=False), "trainer.logger is False, but a study reads what"),
        (
            lambda c: c["trainer"].update(logger={"class_path": "TensorBoardLogger"}),
            "but a study reads what its runs log",
        ),
        (lambda c: c["trainer"].update(enable_checkpointing=False), "trainer.enable_checkpointing is False, but"),
        (lambda c: c["data"].update(init_args=None), r"data\.init_args is None; expected a mapping"),
        (lambda c: c["model"]["init_args"].update(options=[1]), r"model\.init_args\.options is \[1\]"),
        (lambda c: c["rows"]["dla"].update(options=["x"]), r"row dla: options is \['x'\]; expected a mapping"),
        (lambda c: c["rows"]["dla"].update(network=34), "row dla: network is 34; expected a name such as dla34"),
        (lambda c: c["rows"]["dla"]["options"].update(num_classes=3), "row dla: options has num_classes: leave it out"),
        (
            lambda c: c["model"]["init_args"]["options"].update(pretrained=True),
            "row plain: options has pretrained: leave it out, since weights are named after a dot",
        ),
        (lambda c: c["match"].update(tolerence=0.1), "match has no tolerence; it has"),
        (lambda c: c["match"].update(tolerance="3 %"), r"match\.tolerance is '3 %'; expected a share"),
        (lambda c: c.update(model="dla34"), "model is a mapping with the keys class_path, init_args, not 'dla34'"),
        (lambda c: c.update(match={"row": "tree"}), "match names the row 'tree'; there are plain, dla"),
        (lambda c: c["rows"]["plain"]["options"].update(width=1), "the width of row plain is searched"),
    ],
)
def test_a_wrong_study_says_what_is_wrong(content, write, change, message):
    change(content)
    path = write(content)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: .*{message}"):
        read_study(path)


def test_no_study(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no study .*none\.yaml"):
        read_study(tmp_path / "none.yaml")


@pytest.mark.parametrize("text", ["a: [", "3", ""])
def test_what_is_no_mapping(tmp_path, text):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        read_study(path)
