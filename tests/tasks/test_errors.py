"""What is told of errors in processes that load data: what our own code says of them, and nothing of anybody else's."""

from pathlib import Path

import pytest
from torch.utils.data import DataLoader, Dataset

from dla.data.classification.folders import LabelledFolder
from dla.tasks.errors import said


def raised(dataset: Dataset) -> Exception:
    """By a process that loads an image."""
    with pytest.raises(Exception, match=r"Caught .* in DataLoader worker process 0") as caught:
        next(iter(DataLoader(dataset, num_workers=1)))
    return caught.value


def test_what_our_own_code_says_of_an_image_in_a_process_that_loads_it(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.png").write_text("no image")
    dataset = LabelledFolder(tmp_path, ["a"])
    with pytest.raises(ValueError, match=r"0\.png cannot be read") as caught:
        dataset[0]
    assert said(raised(dataset)) == str(caught.value)


class Foreign(Dataset):
    def __getitem__(self, index: int) -> int:
        raise ValueError(f"no image {index}")

    def __len__(self) -> int:
        return 1


def test_an_error_of_anybody_elses_code_keeps_its_traceback():
    assert said(raised(Foreign())) is None


@pytest.mark.parametrize(
    ("missing", "told"),
    [("not met. Try `pip install x`", "not met. Try `pip install x`"), ("No module named 'x'", None)],
)
def test_a_package_that_an_option_needs_is_named_where_its_library_says_how_to_get_it(missing, told):
    error = ValueError("Does not validate against any of the Union subtypes")
    error.__cause__ = ModuleNotFoundError(missing)
    assert said(error) == told
