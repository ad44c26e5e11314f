"""Files of a run folder, whose file system may be away for a moment, as a network share can be."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from rigsl.config import RIGSLConfig
from rigsl.model.rigsl import RIGSL
from rigsl.training import checkpoint
from rigsl.training.checkpoint import save_checkpoint
from search import run_folder
from search.confirm.final_record import read_final_record
from search.run_folder import read_file, write_file
from tests.helpers.corpora import toy_corpus


def test_nothing_is_written_in_the_place_of_a_folder_that_is_away(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    for write in (
        lambda: write_file(folder / run_folder.FACTS, "{}"),
        lambda: save_checkpoint(folder / run_folder.BEST, _model(), parents=False),
    ):
        with pytest.raises(FileNotFoundError):
            write()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_ray_has_made_is_not_taken_for_one_that_is_away(tmp_path: Path) -> None:
    (tmp_path / run_folder.SCRATCH / "tune").mkdir(parents=True)
    with pytest.raises(FileNotFoundError):
        read_final_record(tmp_path)
    with pytest.raises(FileNotFoundError):
        write_file(tmp_path / run_folder.FACTS, "{}")
    assert [path.name for path in tmp_path.iterdir()] == [run_folder.SCRATCH]


def test_a_file_that_was_away_at_the_first_look_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder comes back between the attempt to read a file and the look whether it is there."""
    folder = tmp_path / "study"
    folder.mkdir()
    write_file(folder / run_folder.FINAL, '{"openings": []}')
    read, looks = run_folder.read_json, []

    def away_at_first(path: Path, kind: type[dict]) -> dict | None:
        looks.append(path)
        return None if len(looks) == 1 else read(path, kind)

    monkeypatch.setattr(run_folder, "read_json", away_at_first)
    assert read_file(folder / run_folder.FINAL, dict, run=folder) == {"openings": []}
    assert len(looks) == 2
    assert read_file(folder / run_folder.FACTS, dict, run=folder) is None


def test_a_folder_that_is_away_has_no_empty_record(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_final_record(tmp_path / "study")
    assert read_final_record(tmp_path).openings == ()


def test_a_folder_that_goes_away_before_the_weights_are_written_is_an_error_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """safetensors' own error is no `OSError`, which a search turns into a sentence."""
    write = checkpoint.to_safetensors

    def go_away(*arguments: Any) -> bytes:
        shutil.rmtree(tmp_path / "study")
        return write(*arguments)

    monkeypatch.setattr(checkpoint, "to_safetensors", go_away)
    (tmp_path / "study").mkdir()
    with pytest.raises(FileNotFoundError):
        save_checkpoint(tmp_path / "study" / run_folder.BEST, _model(), parents=False)
    assert list(tmp_path.iterdir()) == []


def _model() -> RIGSL:
    corpus = toy_corpus()
    return RIGSL(RIGSLConfig(modals="l", hidden_dim=8), corpus.schema)
