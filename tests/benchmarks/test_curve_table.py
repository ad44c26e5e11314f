"""What the benchmarks work out of what they measure."""

import json
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.efficiency import curve_table
from benchmarks.efficiency.curve_table import Job, configurations, small_space
from benchmarks.speed.overhead import Search, Span


def test_the_gaps_of_a_search_are_those_of_its_workers() -> None:
    spans = (
        Span(10.0, 14.0, (2.0, 2.0), (0.0,)),
        Span(10.5, 13.0, (2.5,), ()),
        Span(13.2, 17.0, (3.8,), ()),  # took over from the one that ended at 13
        Span(14.5, 18.0, (3.5,), ()),
    )
    search = Search(command=2.0, end=20.0, spans=spans, workers=2, shared=(0.0,))
    assert search.gaps == pytest.approx([0.2, 0.5])
    assert search.ratio == pytest.approx(8.0 * 2 / 13.8)


def test_half_as_wide_a_space_draws_the_same_configurations_every_time() -> None:
    space = small_space()
    assert set(space.parameters["hidden_dim"].values) == {32, 48, 64}
    drawn = configurations(space, 20)
    assert drawn == configurations(space, 20)
    assert drawn[: len(space.starts)] == list(space.starts)
    for params in drawn:
        assert ("gumbel_k" in params) == params["use_gumbel"]
        space.config(params, seed=0)


def test_a_table_gives_back_what_it_was_made_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("PARTS", tmp_path / "parts"),
        ("VALIDATION", tmp_path / "validation.parquet"),
        ("SEALED", tmp_path / "test.parquet"),
    ):
        monkeypatch.setattr(curve_table, name, value)
    curve_table.restore()  # there is nothing yet
    drawn = configurations(small_space(), 3)
    for number, seed in ((0, 0), (5, 0), (5, 1)):
        epochs = [
            {"epoch": epoch, "weighted_f1": 0.1 * epoch + seed, "seconds": 1.5, "test_weighted_f1": 0.3}
            for epoch in (1, 2)
        ]
        curve_table._keep(Job(number, seed, drawn[number], "abc"), 1000 + number, epochs)
    kept = {
        path.name: json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "parts").iterdir()
    }
    curve_table.write_tables("a command", "cpu")
    sealed = pd.read_parquet(tmp_path / "test.parquet")
    assert "test_weighted_f1" not in pd.read_parquet(tmp_path / "validation.parquet")
    assert len(sealed) == 6
    for path in (tmp_path / "parts").iterdir():
        path.unlink()
    curve_table.restore()
    again = {
        path.name: json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "parts").iterdir()
    }
    assert again == kept
