"""Files are read with errors that name them, and written whole or not at all."""

import errno
import os
from pathlib import Path

import pytest
from PIL import Image

from dla.files import atomic_write, check_writable, read_names, read_text
from dla.files.figures import drawing
from dla.files.tables import markdown


def test_the_new_content_appears_at_the_end_of_the_block(tmp_path):
    target = tmp_path / "mask.png"
    target.write_text("old")
    with atomic_write(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
        assert temporary.suffix == ".png"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_what_was_there(tmp_path, failure):
    target = tmp_path / "last.ckpt"
    target.write_text("old")

    def write() -> None:
        with atomic_write(target) as temporary:
            temporary.write_text("half")
            raise failure

    with pytest.raises(failure):
        write()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_interrupt_while_tidying_up_stays_one(tmp_path, monkeypatch):
    closing = os.close

    def interrupted(descriptor: int) -> None:  # as when the signal comes right after the system closed it
        closing(descriptor)
        raise KeyboardInterrupt

    def write() -> None:
        with atomic_write(tmp_path / "a") as temporary:
            (temporary.parent / "inner").mkdir()
            (temporary.parent / "inner" / "half").touch()
            monkeypatch.setattr(os, "close", interrupted)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert list(tmp_path.iterdir()) == []


def test_the_file_gets_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    with atomic_write(tmp_path / "atomic") as temporary:
        temporary.touch()
    assert os.stat(tmp_path / "atomic").st_mode == os.stat(tmp_path / "plain").st_mode  # noqa: PTH116


def test_a_folder_of_that_name_is_refused_first(tmp_path):
    (tmp_path / "out.txt").mkdir()
    with (
        pytest.raises(IsADirectoryError, match=r"cannot write .*out.txt: it is a folder; remove it or choose another"),
        atomic_write(tmp_path / "out.txt"),
    ):
        pytest.fail("the block ran")
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere; create it first"), atomic_write(tmp_path / "nowhere" / "a"):
        pass


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a"):
        pass
    assert not list(tmp_path.iterdir())


def test_text_that_is_not_utf8_is_named(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("grün\n", encoding="utf-8")
    assert read_text(path) == "grün\n"
    path.write_text("grün\n", encoding="latin-1")
    with pytest.raises(ValueError, match=r"names.txt cannot be read as text \(.*expected UTF-8: save it so"):
        read_text(path)


@pytest.mark.parametrize("failure", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_names_the_file_and_leaves_what_was_there(tmp_path, failure):
    target = tmp_path / "table.csv"
    target.write_text("old")
    with pytest.raises(OSError, match=r"cannot write .*table.csv \(.*\): make room") as raised, atomic_write(target):
        raise OSError(failure, os.strerror(failure), ".writing-x/table.csv")
    assert raised.value.__cause__.errno == failure
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_folder_that_takes_no_files_is_named():
    target = Path("/proc/self/x.csv")  # nobody can, root neither
    with (
        pytest.raises(OSError, match=r"cannot write /proc/self/x.csv \(.*\): choose another folder"),
        atomic_write(target),
    ):
        pass
    with pytest.raises(OSError, match=r"/proc/self/x cannot be written to \(.*\): choose another folder"):
        check_writable(Path("/proc/self/x"))


def test_a_list_may_come_through_a_pipe():
    read, write = os.pipe()
    os.write(write, b"a\nb\n")
    os.close(write)
    assert read_names(Path(f"/dev/fd/{read}"), "image") == ["a", "b"]
    os.close(read)


def test_a_folder_behind_a_link_to_nothing_is_named(tmp_path):
    runs = tmp_path / "runs"
    runs.symlink_to(tmp_path / "unmounted")
    for folder in (runs, runs / "first"):
        with pytest.raises(OSError, match=rf"{folder} cannot be written to \({runs} is a link to nothing\): choose"):
            check_writable(folder)
    (tmp_path / "unmounted").mkdir()
    check_writable(runs / "first")


def test_a_figure_has_its_size_and_takes_names_that_its_font_lacks(tmp_path):
    with drawing(tmp_path / "a.png", size=(3, 2), dpi=50) as figure:
        figure.text(0.5, 0.5, "道路")
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (150, 100)


def test_a_table_in_markdown():
    assert list(markdown(["a", "b"], [["1", "x|y"]])) == ["| a | b |", "|---|---|", r"| 1 | x\|y |"]
