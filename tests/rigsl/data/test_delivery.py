"""Delivery numbers mean what their names say, and know of other splits nothing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rigsl.data.open.delivery import delivery_features
from rigsl.data.open.meld import read_meld
from rigsl.data.scaling import LIMIT
from tests.helpers.transcripts import write_csvs


@pytest.fixture
def transcript(tmp_path):
    return read_meld(write_csvs(tmp_path))


def raw(transcript):
    """Name -> the numbers of the first dialogue, before standardisation; so few rows clip nothing."""
    table, scaling = delivery_features(transcript)
    values = {}
    for column, (name, (mean, std)) in zip(table.T, scaling.items(), strict=True):
        values[name] = np.round(column[:4] * std + mean, 5)
    return values


def test_it_is_standardised_on_train_and_clipped(transcript):
    table, scaling = delivery_features(transcript)
    assert table.shape == (15, len(scaling))
    assert 30 <= len(scaling) <= 50
    assert np.isfinite(table).all()
    assert np.abs(table).max() <= LIMIT
    train = table[:5]
    np.testing.assert_allclose(train.mean(axis=0), 0.0, atol=1e-5)
    moving = np.ptp(train, axis=0) > 0
    np.testing.assert_allclose(train.std(axis=0)[moving], 1.0, atol=1e-5)


def test_other_splits_do_not_reach_the_training_rows(transcript):
    before, scaling = delivery_features(transcript)
    spoiled = ("WHAT?!",) * 10
    other = dataclasses.replace(transcript, utterances=transcript.utterances[:5] + spoiled)
    after, scaling_after = delivery_features(other)
    np.testing.assert_array_equal(before[:5], after[:5])
    assert scaling == scaling_after
    assert (before[5:] != after[5:]).any()


def test_labels_are_not_read(transcript):
    blind = dataclasses.replace(transcript, labels=np.full_like(transcript.labels, -1))
    np.testing.assert_array_equal(delivery_features(blind)[0], delivery_features(transcript)[0])


def test_times_give_pauses_and_overlaps(transcript):
    values = raw(transcript)
    assert values["pause_before"][0] == 0.0
    half_a_second_early = pytest.approx(-np.log1p(0.5), abs=1e-5)
    assert values["pause_before"][1] == half_a_second_early
    assert values["overlap_before"].tolist() == [0, 1, 0, 0]
    assert values["gap_unbelievable"].tolist() == [0, 0, 1, 0]  # nine minutes
    assert values["pause_before"][3] == pytest.approx(np.log1p(2.0), abs=1e-5)
    assert values["log_duration"][:2].tolist() == pytest.approx(np.log([1.5, 1.0]), abs=1e-5)
    assert values["log_duration"][2:].tolist() == pytest.approx(np.log([0.05, 30.0]), abs=1e-5)  # wrong times


def test_turns_are_counted_by_speaker(transcript):
    values = raw(transcript)  # Ross, Joey, Joey, Ross
    assert values["speaker_is_new"].tolist() == [1, 1, 0, 0]
    assert values["same_speaker_before"].tolist() == [0, 0, 1, 0]
    assert values["same_speaker_after"].tolist() == [0, 1, 0, 0]
    assert np.expm1(values["log_turns_since_spoke"]).tolist() == pytest.approx([0, 0, 1, 3], abs=1e-4)
    assert values["speakers_so_far"].tolist() == [1, 2, 2, 2]
    assert values["relative_position"].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1], abs=1e-4)


def test_typography_is_counted(transcript):
    values = raw(transcript)  # I’m fine… | Oh, NOOO!! | Well, what? | you
    once = pytest.approx(np.log(2), abs=1e-4)
    assert values["ellipses"].tolist() == [once, 0, 0, 0]
    assert values["exclamation_marks"].tolist() == [0, pytest.approx(np.log(3), abs=1e-4), 0, 0]
    assert values["repeated_marks"].tolist() == [0, once, 0, 0]
    assert values["question_marks"].tolist() == [0, 0, once, 0]
    assert values["elongated_words"].tolist() == [0, once, 0, 0]
    assert values["shouted_words"].tolist() == [0, once, 0, 0]
    assert values["interjections"].tolist() == [0, 0.5, 0, 0]
    assert values["negation"].tolist() == [0, 0.5, 0, 0]
    assert values["hesitations"].tolist() == [0, 0, 0.5, 0]
    assert values["first_person"].tolist() == [0.5, 0, 0, 0]
    assert values["second_person"].tolist() == [0, 0, 0, 1]
