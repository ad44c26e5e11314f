"""The answers of a study on test: what each is, and its numbers as files hold them."""

import dataclasses
import json
from pathlib import Path

import pytest

from search.confirm.answers import answers_in_numbers, answers_of, fixed_before_test, several_answers
from search.confirm.final_record import TestRecord, read_final_record
from tests.helpers.run_folders import make_final, make_plan, make_study

NUMBERS = (
    "weighted_f1", "low", "high", "baseline", "difference", "p", "members", "parameters", "milliseconds"
)  # fmt: skip


def record_of(folder: Path, **options) -> TestRecord:
    """The test part of ``final.json`` of a study."""
    plan = make_plan(folder)
    make_final(plan, make_study(plan, "cc"), **options)
    test = read_final_record(plan.folder).test
    assert test is not None
    return test


def test_the_answers_say_what_they_are_and_that_none_was_picked(tmp_path: Path) -> None:
    answers = answers_of(record_of(tmp_path, answers=("taught", "average")))
    assert {answer.name: answer.meaning for answer in answers} == {
        "configuration": "mean over 3 fresh seeds: comparable with the literature",
        "taught": (
            "the same configuration, taught by the out-of-fold average of 12 trainings: one model, same size "
            "and speed"
        ),
        "average": "mean probabilities of 12 trainings, 5 for the baseline",
    }
    assert fixed_before_test(answers).startswith("All 3 answers were fixed before test was opened")
    assert fixed_before_test(answers[:2]).startswith("Both answers were fixed")


def test_a_study_with_the_configuration_alone_has_no_several_answers(tmp_path: Path) -> None:
    test = record_of(tmp_path)
    assert [answer.name for answer in answers_of(test)] == ["configuration"]
    assert several_answers(test) == ()
    assert several_answers(None) == ()
    assert list(answers_in_numbers(test)) == ["configuration"]


def test_the_numbers_are_those_of_each_answer_and_fit_into_a_json_file(tmp_path: Path) -> None:
    test = record_of(tmp_path, answers=("taught", "average"))
    numbers = answers_in_numbers(test)
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers
    assert list(numbers) == ["configuration", "taught", "average"]
    for name, record in (("configuration", test), ("taught", test.taught), ("average", test.average)):
        own = numbers[name]
        assert tuple(own) == NUMBERS
        assert own["weighted_f1"] == record.winner.weighted_f1.mean
        assert (own["low"], own["high"]) == (record.winner.interval.low, record.winner.interval.high)
        assert own["baseline"] == record.baseline.weighted_f1.mean
        bootstrap = record.difference.bootstrap
        assert own["difference"] == pytest.approx(bootstrap.interval.value)
        assert own["p"] == bootstrap.p
    sizes = [(own["members"], own["parameters"], own["milliseconds"]) for own in numbers.values()]
    assert sizes == [(None, 123_456, 0.25), (12, 123_456, 0.25), (12, 1_481_472, 3.0)]


def test_what_is_not_known_is_none(tmp_path: Path) -> None:
    test = record_of(tmp_path, answers=("average",))
    single = dataclasses.replace(test.winner, interval=None)
    unmeasured = {"parameters": None, "milliseconds": None}
    bare = dataclasses.replace(test, winner=single, baseline=None, difference=None, **unmeasured)
    own = answers_in_numbers(bare)["configuration"]
    assert {name for name, value in own.items() if value is not None} == {"weighted_f1"}
    untested = dataclasses.replace(test, difference=None)
    own = answers_in_numbers(untested)["configuration"]
    assert own["difference"] == own["weighted_f1"] - own["baseline"]
    assert own["p"] is None
