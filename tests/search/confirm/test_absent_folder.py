"""A run folder that is away for a moment is not taken for one in which nothing has been written yet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rigsl.errors import UserError
from search.confirm.evaluation import read_predictions
from search.confirm.final_record import FinalRecord, read_final_record, write_final_record
from search.confirm.trainings import JobResults
from search.execution.error_guard import storage_errors_in_words
from search.run_folder import STUDY, TRAININGS

USES: list[Callable[[Path], object]] = [
    read_predictions,
    read_final_record,
    lambda folder: write_final_record(folder, FinalRecord()),
    lambda folder: JobResults(folder / TRAININGS),
]


@pytest.mark.parametrize("use", USES)
def test_reading_and_writing_is_an_error_and_the_study_can_be_resumed(
    tmp_path: Path, use: Callable[[Path], object]
) -> None:
    """Also if it is back when the error is put into words."""
    folder = tmp_path / "one"

    def used() -> None:
        with storage_errors_in_words(folder):
            try:
                use(folder)
            finally:
                assert not folder.exists()
                folder.mkdir()
                (folder / STUDY).touch()

    with pytest.raises(UserError, match="go on with --resume one"):
        used()


@pytest.mark.parametrize("use", USES)
def test_a_folder_without_these_files_is_no_error(tmp_path: Path, use: Callable[[Path], object]) -> None:
    use(tmp_path)


def test_an_error_in_a_study_that_has_begun_says_how_to_go_on(tmp_path: Path) -> None:
    """A checkpoint, for example, that is away with its share."""
    with (
        pytest.raises(UserError, match="model: is not a checkpoint; go on with --resume one"),
        storage_errors_in_words(tmp_path / "one"),
    ):
        raise UserError("model: is not a checkpoint")
