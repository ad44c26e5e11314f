"""The tables of learning curves, and the overhead that is computed from a search's times."""

import json
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.efficiency import curve_table
from benchmarks.efficiency.curve_table import CurveTraining, configurations, small_space
from benchmarks.speed.overhead import SearchTimes, TrialTimes


def test_the_gaps_of_a_search_are_those_of_its_workers() -> None:
    trials = (
        TrialTimes(10.0, 14.0, (2.0, 2.0), (0.0,)),
        TrialTimes(10.5, 13.0, (2.5,), ()),
        TrialTimes(13.2, 17.0, (3.8,), ()),  # on the worker of the trial that ended at 13
        TrialTimes(14.5, 18.0, (3.5,), ()),
    )
    search = SearchTimes(start=2.0, end=20.0, trials=trials, workers=2, shared=(0.0,))
    assert search.gaps == pytest.approx([0.2, 0.5])
    assert search.ratio == pytest.approx(8.0 * 2 / 13.8)


def test_the_small_space_always_draws_the_same_configurations() -> None:
    space = small_space()
    assert set(space.parameters["hidden_dim"].values) == {24, 32, 48}
    drawn = configurations(space, 20)
    assert drawn == configurations(space, 20)
    assert drawn[: len(space.starts)] == list(space.starts)
    for params in drawn:
        assert ("gumbel_k" in params) == params["use_gumbel"]
        space.config(params, seed=0)


def contents(folder: Path) -> dict[str, dict]:
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in folder.iterdir()}


def test_the_tables_restore_the_trainings_that_they_were_made_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("TRAININGS", tmp_path / "trainings"),
        ("VALIDATION", tmp_path / "validation.parquet"),
        ("SEALED", tmp_path / "test.parquet"),
    ):
        monkeypatch.setattr(curve_table, name, value)
    curve_table.restore()  # there is no table yet
    drawn = configurations(small_space(), 3)
    for number, seed in ((0, 0), (5, 0), (5, 1)):
        epochs = [
            {"epoch": epoch, "weighted_f1": 0.1 * epoch + seed, "seconds": 1.5, "test_weighted_f1": 0.3}
            for epoch in (1, 2)
        ]
        job = CurveTraining(number, seed, drawn[number], "abc", "a CPU")
        curve_table.write_training(job, 1000 + number, epochs)
    written = contents(tmp_path / "trainings")
    curve_table.write_tables("a command")
    sealed = pd.read_parquet(tmp_path / "test.parquet")
    assert "test_weighted_f1" not in pd.read_parquet(tmp_path / "validation.parquet")
    assert len(sealed) == 6
    for path in (tmp_path / "trainings").iterdir():
        path.unlink()
    curve_table.restore()
    assert contents(tmp_path / "trainings") == written
