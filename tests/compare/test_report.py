"""Tables and the picture say what the runs reached, and "not run" where there are none."""

import pytest
from PIL import Image
from run_files import read_rows

from dla.compare.costs import Costs
from dla.compare.outcome import outcomes
from dla.compare.picture import draw
from dla.compare.report import table, write_report
from dla.compare.runs import plan
from dla.compare.study import read_study

COUNTED = {
    "plain": Costs(1000, 2_000_000, 30_000, recomputes=False),
    "dla": Costs(1020, 2_100_000, 45_000, recomputes=True),
}


@pytest.fixture
def runs(study, tmp_path):
    return plan(study, tmp_path)


@pytest.fixture
def report(study, runs, tmp_path):
    """Writes all results and gives the cells of each row of the Markdown table."""

    def report():
        write_report(tmp_path, study, outcomes(runs, COUNTED), runs, "dla compare x")
        lines = (tmp_path / "table.md").read_text().splitlines()
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")][2:]

    return report


def test_nothing_is_run(report, tmp_path):
    plain, deep = report()
    assert plain == ["chain", "dla34", "1,000", "2.0 M", "0.03 MiB", *["not run"] * 6]
    assert deep[:2] == ["dla", "dla34, width 0.125"]
    assert deep[4] == "0.04 MiB (recomputing)"
    assert [line["best"] for line in read_rows(tmp_path / "results.csv")] == ["not run", "not run"]
    assert read_rows(tmp_path / "curves.csv") == []
    assert "Abacus" not in (tmp_path / "table.md").read_text()


def test_a_label_with_a_bar_stays_one_cell(content, write, tmp_path):
    content["rows"]["dla"]["label"] = "deep | wide"
    study = read_study(write(content))
    *_, line = table(study, outcomes(plan(study, tmp_path), COUNTED))
    assert line.startswith(r"| deep \| wide | dla34, width 0.125 |")


def test_one_seed_of_one_row(report, runs, finish):
    finish(runs[1], [0.25, 0.5, 0.375], speed=80)
    plain, deep = report()
    assert plain[5:] == ["not run"] * 6
    assert deep[5:] == ["80", "30", "1 of 2", "50.00", "37.50", "2"]


def test_two_seeds(report, runs, finish, tmp_path):
    finish(runs[1], [0.25, 0.5, 0.375])
    finish(runs[3], [0.125, 0.25, 0.46875])
    _, deep = report()
    # of a sample: |50 - 46.875| / sqrt(2) and |37.5 - 46.875| / sqrt(2)
    assert deep[7:] == ["2 of 2", "48.44 ± 2.21", "42.19 ± 6.63", "2, never"]
    (line,) = [line for line in read_rows(tmp_path / "results.csv") if line["row"] == "dla"]
    assert (line["best"], line["best_deviation"], line["epochs_to_target"]) == ("48.438", "2.210", "2 never")
    assert (line["parameters"], line["macs"], line["memory_mib"]) == ("1020", "2100000", "0.043")
    curves = read_rows(tmp_path / "curves.csv")
    assert [(c["seed"], c["epoch"], float(c["val_accuracy"])) for c in curves][2:4] == [
        ("0", "3", 37.5),
        ("1", "1", 12.5),
    ]


def test_a_target_that_is_just_reached(report, runs, finish):
    finish(runs[1], [0.25, 0.49999999])
    assert report()[1][7:] == ["1 of 2", "50.00", "50.00", "2"]


def test_epochs_that_were_not_measured(report, runs, finish):
    """As of every second one, with `check_val_every_n_epoch`."""
    finish(runs[1], [None, 0.25, None, 0.5])
    assert report()[1][7:] == ["1 of 2", "50.00", "50.00", "4"]


def test_runs_that_were_stopped_before(report, runs, finish):
    finish(runs[1], [0.25])
    finish(runs[3], [0.25, 0.5])
    assert report()[1][7] == "2 of 2, epochs: 1, 2"


def test_a_failed_run(report, runs, finish, tmp_path):
    finish(runs[1], [0.5, 0.5])
    for run in (runs[0], runs[2], runs[3]):
        run.folder.mkdir(parents=True)
        run.failed.touch()
    plain, deep = report()
    assert [line["best"] for line in read_rows(tmp_path / "results.csv")] == ["failed", "50.000"]
    assert plain[5:] == ["failed: seed 0, 1"] * 6
    assert deep[7] == "1 of 2, failed: 1"


def test_the_head_says_how(report, runs, finish, tmp_path):
    finish(runs[1], [0.5])
    report()
    head = (tmp_path / "table.md").read_text().partition("|")[0]
    for said in (
        "# Two structures",
        "`dla compare x`",
        "2 epochs of 1,408 training images",
        "lr 0.003",
        "batch_size 32",
        "val split of DigitsData, 359 images",
        "16x16",
        "Abacus, threads: 3, 32-true",
        "torch 2.8.0",
    ):
        assert said in head, said


def test_data_of_different_folders_is_told(content, write, finish, tmp_path):
    content["data"]["init_args"]["root"] = "here"
    study = read_study(write(content))
    here, there = plan(study, tmp_path), plan(study, tmp_path, data_root="there")
    runs = [there[0], there[1], here[2], here[3]]
    for count, told in ((2, False), (3, True)):
        for run in runs[:count]:
            if not run.finished.exists():
                finish(run, [0.5])
        write_report(tmp_path, study, outcomes(runs, COUNTED), runs, "dla compare x")
        line = "data of different folders**, so that rows may not compare: there, here"
        assert (line in (tmp_path / "table.md").read_text()) is told


def test_without_a_target(content, write, tmp_path):
    del content["target"]
    study = read_study(write(content))
    runs = plan(study, tmp_path)
    write_report(tmp_path, study, outcomes(runs, COUNTED), runs, "dla compare x")
    assert "epochs to" not in (tmp_path / "table.md").read_text()


def test_a_run_whose_epochs_are_measured_now_and_then(report, runs, finish, log):
    finish(runs[1], [0.25, 0.5])
    log(runs[1].folder, 5, [(2, {"train/loss": 1.0, "time/seconds": 4.0, "time/images_per_second": 90.0})])
    log(runs[1].folder, 6, [(3, {"train/loss": 1.0})])  # the machine went down before the times were written
    _, deep = report()
    assert deep[5:] == ["100", "24", "1 of 2", "50.00", "50.00", "2"]


def test_picture(runs, study, finish, tmp_path):
    orange, band = (255, 127, 14), (255, 235, 219)  # the second colour, and 15 % of it on white
    finish(runs[1], [0.25, 0.5])
    one = colours(runs, study, tmp_path / "picture.png")
    finish(runs[3], [0.5, 0.75])
    two = colours(runs, study, tmp_path / "picture.png")
    assert one[orange] > 100
    assert two[band] > 10000 > 100 * one.get(band, 0)


def test_picture_of_nothing(runs, study, tmp_path):
    assert (255, 127, 14) not in colours(runs, study, tmp_path / "picture.png")


def test_names_are_no_formulas(content, write, finish, tmp_path):
    content["rows"]["dla"]["label"] = "cost $a^$"
    content["title"] = r"$\foo$ and $"
    study = read_study(write(content))
    runs = plan(study, tmp_path)
    finish(runs[1], [0.25])
    colours(runs, study, tmp_path / "picture.png")


def colours(runs, study, path):
    """How many pixels have each colour."""
    draw(path, outcomes(runs, COUNTED), study)
    with Image.open(path) as picture:
        return {colour: count for count, colour in picture.convert("RGB").getcolors(maxcolors=1 << 20)}
