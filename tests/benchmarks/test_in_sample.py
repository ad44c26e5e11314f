"""A teacher made of seeds, on a corpus whose features know the labels of train."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.selection import in_sample
from benchmarks.selection.in_sample import cross_score, measure, table
from benchmarks.selection.trainings import space
from rigsl.data.tensor_file import map_arrays, write_arrays
from tests.helpers.corpora import toy_corpus


@pytest.fixture
def delivery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the features; the corpus is small, trainings are short."""
    corpus, whole = toy_corpus(dialogues=40), space()
    short = dataclasses.replace(whole, fixed={**whole.fixed, "epochs": 2})
    monkeypatch.setattr(in_sample, "corpus", lambda: corpus.without_test_labels())
    monkeypatch.setattr(in_sample, "space", lambda: short)
    monkeypatch.setattr(in_sample, "TRAININGS", tmp_path / "trainings")
    for name, seeds in (("TEACHER_SEEDS", range(2)), ("STUDENT_SEEDS", range(2, 4)), ("STARTS", (1,))):
        monkeypatch.setattr(in_sample, name, seeds)
    in_sample._read_corpus.cache_clear()
    (tmp_path / "trainings").mkdir()
    write_arrays(tmp_path / "delivery.safetensors", {"d": corpus.features["d"]}, {})
    return tmp_path / "delivery.safetensors"


def test_students_are_compared_with_the_same_seeds_untaught(delivery: Path) -> None:
    scores = measure(delivery, 1)
    assert len(scores) == 2 * (1 + len(in_sample.WEIGHTS))
    assert set(scores["seed"]) == {2, 3}
    files = {path.name: path.stat().st_mtime_ns for path in in_sample.TRAININGS.iterdir()}
    assert len(files) == 2 + len(scores)
    pd.testing.assert_frame_equal(measure(delivery, 1), scores)
    assert {path.name: path.stat().st_mtime_ns for path in in_sample.TRAININGS.iterdir()} == files
    # The teacher has learned the utterances that it teaches: its rows are all of train.
    corpus = in_sample.corpus()
    arrays, _ = map_arrays(in_sample.SeedTraining(1, 0).path)
    assert arrays["rows"].tolist() == corpus.rows(corpus.dialogues("train")).tolist()
    rows = table(scores).splitlines()[2:]
    untaught, taught = (scores[scores["weight"] == weight]["score"].mean() for weight in (0.0, 0.3))
    assert rows[0].startswith(f"| 0.3 | {100 * untaught:.2f} | {100 * taught:.2f} |")


def test_a_half_is_scored_at_the_epoch_that_is_best_on_the_other() -> None:
    labels = np.array([0, 1, 0, 1])
    predicted = np.array(
        [[0, 1, 1, 0], [0, 0, 0, 1]]
    )  # the first epoch knows the first half, the second the other
    first, second = np.array([0, 1]), np.array([2, 3])
    expected = (1 / 3 + 0.0) / 2  # each half at the epoch that is worse there
    assert cross_score(predicted, labels, [first, second]) == pytest.approx(expected)
